import { uploadComparison } from '../lib/uploads.mjs'

export default uploadComparison(1, { count: 150, parallel: 4, warmup: 50 })
