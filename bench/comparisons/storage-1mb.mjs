import { uploadComparison } from '../lib/uploads.mjs'

export default uploadComparison(1, 60, 4)
