import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { addUser, findUserByName } from '../db/users.ts'
import { checkPassword, hashPassword } from '../passwords.ts'

const Credentials = Type.Object({
  name: Type.String({ minLength: 2, maxLength: 40, pattern: '^[\\p{L}\\p{N}_.-]+$' }),
  password: Type.String({ minLength: 8, maxLength: 200 }),
})
const Tokens = Type.Object({
  accessToken: Type.String(),
  refreshToken: Type.Optional(Type.String()),
  expiresIn: Type.Integer({ description: 'seconds' }),
})

/** Sign up, log in, refresh, log out here, log out everywhere. */
const session: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/signup', { schema: { body: Credentials, response: { 201: Tokens } } }, async (request, reply) => {
    const { name, password } = request.body
    const user = await addUser(app.db, name, await hashPassword(password))
    if (!user) throw app.httpErrors.conflict('this name is taken')
    reply.code(201)
    return app.auth.login({ sub: user.id, roles: user.roles, name: user.name })
  })

  app.post('/login', { schema: { body: Credentials, response: { 200: Tokens } } }, async (request) => {
    const { name, password } = request.body
    const user = await findUserByName(app.db, name)
    if (!(await checkPassword(user?.passwordHash, password)) || !user)
      throw app.httpErrors.unauthorized('wrong name or password')
    return app.auth.login({ sub: user.id, roles: user.roles, name: user.name })
  })

  app.post(
    '/refresh',
    { schema: { body: Type.Object({ refreshToken: Type.String({ maxLength: 500 }) }), response: { 200: Tokens } } },
    async (request) => app.auth.refresh(request.body.refreshToken),
  )

  app.post('/logout', { onRequest: app.authenticate }, async (request, reply) => {
    await app.auth.revoke({ sid: request.user.sid as string })
    return reply.code(204).send()
  })

  app.post('/logout-everywhere', { onRequest: app.authenticate }, async (request, reply) => {
    await app.auth.revoke({ sub: request.user.sub })
    return reply.code(204).send()
  })

  app.get('/me', { onRequest: app.authenticate }, async (request) => ({
    id: request.user.sub,
    name: request.user.name,
    roles: request.user.roles,
  }))
}

export default session
