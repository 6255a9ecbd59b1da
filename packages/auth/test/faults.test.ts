import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Tokens } from '../src/index.ts'
import { type ServiceProcess, startService } from './processes.ts'
import { SECRET, bearer } from './service.ts'

const MAX_STALENESS = 5_000
const ROUNDS = process.env['SOAK'] ? 100 : 20
const STREAM = 'auth:1:revocations'

let redis: RedisServer
let admin: Redis
const services: ServiceProcess[] = []

beforeEach(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  // Its server is killed on purpose.
  admin.on('error', () => undefined)
})
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()))
  admin.disconnect()
  await redis.stop()
})

async function start(count: number, sessions: object = {}, env = {}): Promise<ServiceProcess[]> {
  const options = { secret: SECRET, sessions: { redis: redis.url, commandTimeout: 500, ...sessions } }
  const started = await Promise.all(Array.from({ length: count }, () => startService(options, env)))
  services.push(...started)
  return started
}

/** Asks again until it is done, as a client would. */
async function revokeSurely(service: ServiceProcess, target: object): Promise<void> {
  await waitFor(async () => (await service.ask('/revoke', target)).status === 200, { timeout: 30_000 })
}

const sidOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { sid: string }).sid

/** Sessions to be revoked in one go. */
async function logins(service: ServiceProcess, count: number): Promise<Tokens[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => service.login({ sub: `user ${i}` })))
}

/** Waits until every process refuses every token; returns how long that took, in ms. */
async function allRevoked(tokens: Tokens[]): Promise<number> {
  const list = tokens.map(({ accessToken }) => accessToken)
  const start = performance.now()
  await Promise.all(
    services.map((service) =>
      waitFor(async () => (await service.check(list)).every((code) => code === 'SCALE_AUTH_TOKEN_REVOKED'), {
        timeout: 30_000,
        message: `all tokens revoked in ${service.url}`,
      }),
    ),
  )
  return performance.now() - start
}

describe('revocation with four processes', () => {
  it('loses none while every connection is killed ten times', async () => {
    await start(4)
    const tokens = await logins(services[0] as ServiceProcess, ROUNDS)
    for (const [i, { accessToken }] of tokens.entries()) {
      if (i % Math.ceil(ROUNDS / 10) === 0) await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await revokeSurely(services[i % 4] as ServiceProcess, { sid: sidOf(accessToken) })
    }
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
  })

  it('survives the stream being deleted, and tells a new process what was in it', async () => {
    await start(4)
    const tokens = await logins(services[0] as ServiceProcess, 12)
    for (const [i, { accessToken }] of tokens.entries()) {
      await revokeSurely(services[i % 4] as ServiceProcess, { sid: sidOf(accessToken) })
      if (i % 4 === 3) await admin.del(STREAM)
    }
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
    // What one process held is in the stream again, for those that come later.
    await waitFor(
      async () => new Set((await admin.xrange(STREAM, '-', '+')).map(([, fields]) => fields[5])).size >= tokens.length,
    )
    await start(1)
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
  })

  it('survives a stream made anew with lower ids', async () => {
    await start(4)
    const [first, second] = (await logins(services[0] as ServiceProcess, 2)) as [Tokens, Tokens]
    await revokeSurely(services[0] as ServiceProcess, { sid: sidOf(first.accessToken) })
    await allRevoked([first])
    const made = Math.floor(Date.now() / 1_000)
    await admin
      .multi()
      .del(STREAM)
      .xadd(STREAM, '1-1', 'v', 1, 'kind', 'sid', 'id', sidOf(second.accessToken), 'at', '', 'made', made)
      .exec()
    expect(await allRevoked([first, second])).toBeLessThan(MAX_STALENESS)
    // They put the one that the new stream did not have into it again; neither is forgotten over that.
    await waitFor(async () => (await admin.xlen(STREAM)) > 1)
    expect(await allRevoked([first, second])).toBeLessThan(MAX_STALENESS)
  })

  it('takes effect within the bound of a stalled Redis going on', async () => {
    await start(4)
    const tokens = await logins(services[0] as ServiceProcess, 8)
    for (const { accessToken } of tokens.slice(0, 4))
      await revokeSurely(services[0] as ServiceProcess, { sid: sidOf(accessToken) })
    redis.freeze()
    // Not done is not said to be done, within the bound of a command and some room.
    const start_ = performance.now()
    const refused = await (services[1] as ServiceProcess).ask('/revoke', {
      sid: sidOf((tokens[4] as Tokens).accessToken),
    })
    expect(refused).toMatchObject({ status: 503, body: { code: 'SCALE_AUTH_UNAVAILABLE' } })
    expect(performance.now() - start_).toBeLessThan(2_500)
    // Everybody knows that they know nothing new.
    for (const service of services)
      await waitFor(async () => ((await service.ask('/staleness')).body as { staleness: number }).staleness > 2_500)
    const pending = tokens
      .slice(4)
      .map(({ accessToken }, i) => revokeSurely(services[i] as ServiceProcess, { sid: sidOf(accessToken) }))
    redis.thaw()
    await Promise.all(pending)
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
    for (const service of services)
      await waitFor(async () => ((await service.ask('/staleness')).body as { staleness: number }).staleness < 2_500)
  })

  it('survives Redis coming back empty', async () => {
    await start(4)
    const tokens = await logins(services[0] as ServiceProcess, 8)
    for (const [i, { accessToken }] of tokens.slice(0, 4).entries())
      await revokeSurely(services[i] as ServiceProcess, i === 3 ? { sub: 'user 3' } : { sid: sidOf(accessToken) })
    await redis.kill()
    const pending = tokens
      .slice(4)
      .map(({ accessToken }, i) => revokeSurely(services[i] as ServiceProcess, { sid: sidOf(accessToken) }))
    await redis.restart()
    await Promise.all(pending)
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
    await waitFor(async () => (await admin.xlen(STREAM)) >= tokens.length)
    await start(1)
    expect(await allRevoked(tokens)).toBeLessThan(MAX_STALENESS)
  })
})

describe('an outage of Redis', () => {
  it('leaves verification alone; login, refresh and revoke say 503 in time; a strict route does too', async () => {
    const [service] = (await start(1)) as [ServiceProcess]
    const tokens = await service.login({ sub: 'u1' })
    const headers = bearer(tokens.accessToken)
    expect((await service.ask('/strict', undefined, headers)).status).toBe(200)
    for (const fault of ['freeze', 'kill'] as const) {
      if (fault === 'freeze') redis.freeze()
      else await redis.kill()
      for (const [path, body] of [
        ['/login', { sub: 'u2' }],
        ['/refresh', tokens],
        ['/revoke', { sub: 'u2' }],
        ['/revoke', { refreshToken: tokens.refreshToken }],
      ] as const) {
        const start = performance.now()
        expect(await service.ask(path, body)).toMatchObject({ status: 503, body: { code: 'SCALE_AUTH_UNAVAILABLE' } })
        expect(performance.now() - start, path).toBeLessThan(2_500)
      }
      expect((await service.ask('/me', undefined, headers)).status).toBe(200)
      // Still ready: sending every process away would make an outage of it.
      expect((await service.ask('/ready')).body).toMatchObject({ ready: true })
      const strict = await waitFor(async () => {
        const answer = await service.ask('/strict', undefined, headers)
        return answer.status === 503 && answer
      })
      expect(strict.body).toMatchObject({ code: 'SCALE_AUTH_STALE' })
      expect(strict.headers.get('retry-after')).toBe('1')
      if (fault === 'freeze') redis.thaw()
      else await redis.restart()
      await waitFor(async () => (await service.ask('/strict', undefined, headers)).status === 200)
      await waitFor(async () => (await service.ask('/login', { sub: 'u2' })).status === 200)
    }
  })

  it('does not let a refresh run late: a client that was told 503 keeps its token, however long it waits', async () => {
    const [service] = (await start(1, { reuseGrace: 0 })) as [ServiceProcess]
    // The first refresh teaches Redis the script: what is sent to the frozen one is whole.
    const tokens = (await service.ask('/refresh', await service.login({ sub: 'u1' }))).body as Tokens
    redis.freeze()
    expect((await service.ask('/refresh', tokens)).status).toBe(503)
    redis.thaw()
    const again = await waitFor(async () => {
      const answer = await service.ask('/refresh', tokens)
      return answer.status !== 503 && answer
    })
    expect(again.status).toBe(200)
  })

  it('at the start: the process serves, says that it is not ready, and becomes ready', async () => {
    redis.freeze()
    const [service] = (await start(1)) as [ServiceProcess]
    const { body } = await service.ask('/ready')
    expect(body).toMatchObject({ ready: false })
    expect(
      (body as { checks: { name: string; ok: boolean }[] }).checks.filter(({ ok }) => !ok).map(({ name }) => name),
    ).toEqual(['auth: revocations'])
    expect((await service.ask('/strict')).status).toBe(503)
    redis.thaw()
    await waitFor(async () => ((await service.ask('/ready')).body as { ready: boolean }).ready)
  })

  it('a process killed between rotation and answer: the client asks another one and goes on', async () => {
    const [doomed] = (await start(1, {}, { DIE_AFTER_ROTATION: '1' })) as [ServiceProcess]
    const [other] = (await start(1)) as [ServiceProcess]
    const tokens = await other.login({ sub: 'u1' })
    await expect(doomed.ask('/refresh', tokens)).rejects.toThrow()
    const again = await other.ask('/refresh', tokens)
    expect(again.status).toBe(200)
    // It was rotated before the kill: this is the successor, and the same one for whoever asks.
    expect((again.body as Tokens).refreshToken).not.toBe(tokens.refreshToken)
    expect(((await other.ask('/refresh', tokens)).body as Tokens).refreshToken).toBe(
      (again.body as Tokens).refreshToken,
    )
    expect((await other.ask('/me', undefined, bearer((again.body as Tokens).accessToken))).status).toBe(200)
  })
})

afterAll(async () => {
  await Promise.all(services.map((service) => service.stop()))
})
