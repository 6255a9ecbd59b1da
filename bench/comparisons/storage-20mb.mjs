import { uploadComparison } from '../lib/uploads.mjs'

export default uploadComparison(20, 6, 1)
