import { uploadComparison } from '../lib/uploads.mjs'

export default uploadComparison(20, { count: 6, parallel: 1, warmup: 2 })
