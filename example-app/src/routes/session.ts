import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { Tokens as AuthTokens } from '@fastify-scale/auth'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type User, addUser, findUserByName } from '../db/users.ts'
import { Name, foldName, nameList } from '../names.ts'
import { checkPassword, hashPassword } from '../passwords.ts'

const Credentials = Type.Object({
  name: Name,
  password: Type.String({ minLength: 8, maxLength: 200 }),
})
const Tokens = Type.Object({
  accessToken: Type.String(),
  refreshToken: Type.Optional(Type.String()),
  expiresIn: Type.Integer({ description: 'seconds' }),
})
const Me = Type.Object({ id: Type.String(), name: Type.String(), roles: Type.Array(Type.String()) })

/** Sign up, log in, refresh, log out here, log out everywhere. Tokens come in the answer and as cookies for pages. */
const session: FastifyPluginAsyncTypebox = async (app) => {
  const admins = nameList(app.config.ADMIN_NAMES)

  async function begin(reply: FastifyReply, user: User): Promise<AuthTokens> {
    const tokens = await app.auth.login({ sub: user.id, roles: user.roles, name: user.name })
    app.auth.setCookies(reply, tokens)
    return tokens
  }

  const signupLimit = { max: app.config.SIGNUP_LIMIT, timeWindow: '1 minute' }
  app.post(
    '/signup',
    { schema: { body: Credentials, response: { 201: Tokens } }, config: { rateLimit: signupLimit } },
    async (request, reply) => {
      const { name, password } = request.body
      const roles: User['roles'] = admins.includes(foldName(name)) ? ['user', 'admin'] : ['user']
      const user = await addUser(app.db, { name, passwordHash: await hashPassword(password), roles })
      if (!user) throw app.httpErrors.conflict('this name is taken')
      reply.code(201)
      return begin(reply, user)
    },
  )

  // By name too: nobody locks others out of the same address, and nobody tries many passwords of one user.
  const loginLimit = {
    max: app.config.LOGIN_LIMIT,
    timeWindow: '1 minute',
    hook: 'preHandler' as const,
    keyGenerator: (request: FastifyRequest) => `${request.ip}:${foldName((request.body as { name: string }).name)}`,
  }
  app.post(
    '/login',
    { schema: { body: Credentials, response: { 200: Tokens } }, config: { rateLimit: loginLimit } },
    async (request, reply) => {
      const { name, password } = request.body
      const user = await findUserByName(app.db, name)
      if (!(await checkPassword(user?.passwordHash, password)) || !user)
        throw app.httpErrors.unauthorized('wrong name or password')
      return begin(reply, user)
    },
  )

  app.post(
    '/session/refresh',
    {
      schema: {
        body: Type.Object({ refreshToken: Type.Optional(Type.String({ maxLength: 500 })) }),
        response: { 200: Tokens },
      },
      // Who has the cookie need not say anything.
      preValidation: (request, _reply, done) => {
        request.body ??= {}
        done()
      },
    },
    async (request, reply) => {
      const token = request.body.refreshToken ?? app.auth.refreshCookie(request)
      if (!token) throw app.httpErrors.unauthorized('no refresh token')
      const tokens = await app.auth.refresh(token)
      app.auth.setCookies(reply, tokens)
      return tokens
    },
  )

  app.post('/logout', { onRequest: app.authenticate }, async (request, reply) => {
    await app.auth.revoke({ sid: request.user.sid as string })
    app.auth.clearCookies(reply)
    return reply.code(204).send()
  })

  app.post('/logout-everywhere', { onRequest: app.authenticate }, async (request, reply) => {
    await app.auth.revoke({ sub: request.user.sub })
    app.auth.clearCookies(reply)
    return reply.code(204).send()
  })

  app.get('/me', { onRequest: app.authenticate, schema: { response: { 200: Me } } }, async (request) => ({
    id: request.user.sub,
    name: request.user.name,
    roles: [...request.user.roles],
  }))
}

export default session
