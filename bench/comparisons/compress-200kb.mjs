import { compressComparison } from '../lib/compress.mjs'

export default compressComparison(200)
