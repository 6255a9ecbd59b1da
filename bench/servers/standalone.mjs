// The application without a launcher of ours: a worker of pm2 or of bare node:cluster, or, for Watt, `create()`.
const { default: plugin, options } = await import(process.env.APP)
// The application's own copy, as anybody's would be.
const { default: Fastify, LogController } = await import('fastify')
/** With LOGGER, Fastify's own logger, without its two lines for each request. */
const logging = process.env.LOGGER
  ? { logger: true, logController: new LogController({ disableRequestLogging: true }) }
  : { logger: false }

export async function create() {
  const app = Fastify({ ...options, ...logging })
  await app.register(plugin)
  return app
}

if (!process.env.WATT) {
  const app = await create()
  await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
  // pm2 waits for the message, and asks by SIGINT to go: what its guide says to answer.
  process.send?.('ready')
  process.on('SIGINT', () => void app.close().then(() => process.exit(0)))
}
