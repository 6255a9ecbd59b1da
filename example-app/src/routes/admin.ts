import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { BOARD } from '../board.ts'

const Banner = Type.Object({ text: Type.String({ maxLength: 200 }) })
const Slot = Type.Object({ slot: Type.Integer({ minimum: 0, maximum: 1_024 }) })

/** The banner on every page, and the cluster: looked at by all who are logged in, changed by admins. */
const admin: FastifyPluginAsyncTypebox = async (app) => {
  const asAdmin = { onRequest: app.requireRole('admin') }

  app.get('/banner', { schema: { response: { 200: Banner } } }, async () => ({ text: app.settings.get('banner') }))
  app.put('/banner', { ...asAdmin, schema: { body: Banner, response: { 200: Banner } } }, async (request) => {
    await app.settings.set('banner', request.body.text)
    await app.realtime.publish(BOARD, 'banner', request.body.text)
    return request.body
  })

  app.get('/cluster', { onRequest: app.authenticate }, async () => ({ launchers: await app.cluster.status() }))
  app.post('/cluster/reload', asAdmin, async (_request, reply) => {
    await app.cluster.reload()
    return reply.code(202).send({ accepted: true })
  })
  app.post(
    '/cluster/scale',
    { ...asAdmin, schema: { body: Type.Object({ to: Type.Integer({ minimum: 1, maximum: 16 }) }) } },
    async (request, reply) => {
      await app.cluster.scale(request.body.to)
      return reply.code(202).send({ accepted: true })
    },
  )
  app.post('/cluster/restart', { ...asAdmin, schema: { body: Slot } }, async (request, reply) => {
    await app.cluster.restart(request.body.slot)
    return reply.code(202).send({ accepted: true })
  })
  // To show that nothing breaks: the worker is ended by SIGKILL.
  app.post('/cluster/kill', { ...asAdmin, schema: { body: Slot } }, async (request, reply) => {
    await app.cluster.kill(request.body.slot)
    return reply.code(202).send({ accepted: true })
  })
}

export default admin
