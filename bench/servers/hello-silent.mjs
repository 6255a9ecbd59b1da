// The same application; whoever runs it, without a logger.
export { default } from './hello.mjs'
export const options = { logger: false }
