import Fastify from 'fastify'
import { describe, expectTypeOf, it } from 'vitest'
import { type LoginClaims, type RequestUser, type Role, type ScaleAuthOptions, scaleAuth } from '../src/index.ts'

// AuthUser is augmented in service.ts, as a user of the package would.
import './service.ts'

describe('types', () => {
  const app = Fastify()

  it('request.user has the claims of every token and those of the service', () => {
    app.get('/me', { onRequest: app.authenticate }, async (request) => {
      expectTypeOf(request.user).toEqualTypeOf<RequestUser>()
      expectTypeOf(request.user.sub).toEqualTypeOf<string>()
      expectTypeOf(request.user.exp).toEqualTypeOf<number>()
      expectTypeOf(request.user.sid).toEqualTypeOf<string | undefined>()
      expectTypeOf(request.user.roles).toEqualTypeOf<('admin' | 'user')[] | undefined>()
      // @ts-expect-error claims are read-only
      request.user.sub = 'x'
      // @ts-expect-error no such claim was named
      void request.user.tenant
    })
  })

  it('verify() gives the same', () => {
    expectTypeOf(app.auth.verify).returns.toEqualTypeOf<RequestUser>()
  })

  it('login() takes sub, the claims of the service and others', () => {
    expectTypeOf<{ sub: string; roles: ['admin'] }>().toExtend<LoginClaims>()
    expectTypeOf<{ sub: string; tenant: number }>().toExtend<LoginClaims>()
    expectTypeOf<{ roles: ['admin'] }>().not.toExtend<LoginClaims>()
    expectTypeOf<{ sub: string; roles: ['root'] }>().not.toExtend<LoginClaims>()
  })

  it('requireRole() takes only the roles of the service, when it named them', () => {
    expectTypeOf<Role>().toEqualTypeOf<'admin' | 'user'>()
    void app.requireRole('admin', 'user')
    void app.requireRole({ all: ['admin'] })
    // @ts-expect-error no such role
    void app.requireRole('root')
  })

  it('requireRole() and requireScope() take any or all, not both', () => {
    void app.requireRole({ any: ['admin', 'user'] })
    void app.requireScope({ all: ['read'] })
    // @ts-expect-error one of them would be dropped
    void app.requireRole({ any: ['admin'], all: ['user'] })
    // @ts-expect-error one of them would be dropped
    void app.requireScope({ any: ['read'], all: ['write'] })
  })

  it('config.auth is known on routes', () => {
    app.get('/strict', { config: { auth: { maxStaleness: '2s' } } }, async () => ({}))
    // @ts-expect-error not a duration
    app.get('/wrong', { config: { auth: { maxStaleness: true } } }, async () => ({}))
  })

  it('register() checks the options', () => {
    void app.register(scaleAuth, { secret: 'x', issuer: 'https://a.example' })
    // @ts-expect-error the issuer is missing
    void app.register(scaleAuth, { secret: 'x' })
    expectTypeOf<ScaleAuthOptions['jwksUrl']>().toEqualTypeOf<string | undefined>()
  })

  it('revoke() takes one of the targets', () => {
    void app.auth.revoke({ sub: 'a' })
    // @ts-expect-error no such target
    void app.auth.revoke({ user: 'a' })
    // @ts-expect-error only true
    void app.auth.revoke({ all: false })
  })
})
