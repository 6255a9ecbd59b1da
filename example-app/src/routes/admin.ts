import { type FastifyPluginAsyncTypebox, type Static, Type } from '@fastify/type-provider-typebox'
import { BOARD } from '../board.ts'

const Banner = Type.Object({ text: Type.String({ maxLength: 200 }) })
const Action = Type.Object({
  /** `id` of the launcher that it is for. */
  launcher: Type.String({ maxLength: 100 }),
  do: Type.Union([Type.Literal('reload'), Type.Literal('scale'), Type.Literal('restart'), Type.Literal('kill')]),
  slot: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_024 })),
  to: Type.Optional(Type.Integer({ minimum: 1, maximum: 16 })),
})
export type Action = Static<typeof Action>

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

  async function act({ do: what, slot = 0, to = 1 }: Action): Promise<void> {
    const { cluster } = app
    if (what === 'reload') return cluster.reload()
    if (what === 'scale') return cluster.scale(to)
    // 'kill' ends the worker by SIGKILL, to show that nothing breaks.
    return what === 'restart' ? cluster.restart(slot) : cluster.kill(slot)
  }

  /** An action for another machine's launcher is heard by all of its workers; the one in the first ready slot obeys. */
  async function obey(action: Action): Promise<void> {
    const [own] = await app.cluster.status()
    const first = own?.slots.find(({ state }) => state === 'ready')
    if (own?.id === action.launcher && first?.slot === app.cluster.worker.slot) await act(action)
  }
  app.io.on('clusterAction', (action) => {
    obey(action).catch((error: Error) => app.log.warn({ action, reason: error.message }, 'a cluster action failed'))
  })

  app.post('/cluster', { ...asAdmin, schema: { body: Action } }, async (request, reply) => {
    const [own] = await app.cluster.status()
    if (own?.id === request.body.launcher) await act(request.body)
    else app.io.serverSideEmit('clusterAction', request.body)
    return reply.code(202).send({ accepted: true })
  })
}

export default admin
