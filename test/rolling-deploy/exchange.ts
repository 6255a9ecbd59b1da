import { describe, expect, test } from 'vitest'
import { waitFor } from '@fastify-scale/dev-services'
import { type Label, type Pair, type Tokens } from './pair.ts'

/** What two processes on the same Redis and the same bucket must take from each other, in both directions. */
export function describeExchange(title: string, pair: Pair): void {
  const { ask } = pair
  const me = (label: Label, token: string) =>
    ask<{ sub: string; by: string }>(label, '/me', undefined, { headers: { authorization: `Bearer ${token}` } })

  describe.each([
    ['old', 'new'],
    ['new', 'old'],
  ] as [Label, Label][])(`${title}: from %s to %s`, (from, to) => {
    test('a token is taken, refreshed and revoked', async () => {
      const { body: first } = await ask<Tokens>(from, '/login', { sub: `of-${from}`, roles: ['user'] })
      expect(await me(to, first.accessToken)).toMatchObject({ status: 200, body: { sub: `of-${from}`, by: to } })
      const { status, body: second } = await ask<Tokens>(to, '/refresh', { refreshToken: first.refreshToken })
      expect(status).toBe(200)
      expect((await me(from, second.accessToken)).status).toBe(200)
      // The other way again, with what the other has made.
      const { body: third } = await ask<Tokens>(from, '/refresh', { refreshToken: second.refreshToken })
      await ask(to, '/revoke', { refreshToken: third.refreshToken })
      for (const label of [from, to])
        await waitFor(async () => (await me(label, third.accessToken)).status === 401, { timeout: 25_000 })
      expect((await ask(from, '/refresh', { refreshToken: third.refreshToken })).status).toBe(401)
    })

    test('what one has cached the other reads, and what one invalidates is gone in the other', async () => {
      const key = `key-of-${from}`
      const value = async (label: Label) => (await ask<{ by: string }>(label, `/value/${key}`)).body.by
      expect([await value(from), await value(to), await value(from)]).toEqual([from, from, from])
      await ask(to, `/value/${key}`, undefined, { method: 'DELETE' })
      // Out of both memories at once, and filled by the other now.
      expect([await value(to), await value(from)]).toEqual([to, to])
      await ask(from, '/tag/values', undefined, { method: 'DELETE' })
      expect([await value(from), await value(to)]).toEqual([from, from])
    })

    test('a route that one has answered the other takes from the cache, compressed too', async () => {
      await ask(to, '/tag/page', undefined, { method: 'DELETE' })
      const page = (label: Label) =>
        ask<{ by: string }>(label, '/page', undefined, { headers: { 'accept-encoding': 'gzip' } })
      expect((await page(from)).body.by).toBe(from)
      const again = await page(to)
      expect([again.body.by, again.headers.get('content-encoding')]).toEqual([from, 'gzip'])
    })

    test('a setting that one changes the other sees, with its version', async () => {
      const settings = async (label: Label) =>
        (await ask<{ limit: number; versions: { limit?: number } }>(label, '/settings')).body
      const before = (await settings(to)).versions.limit ?? 0
      const value = from === 'old' ? 100 : 200
      expect((await ask(from, '/settings', { value, ifVersion: before })).status).toBe(200)
      await waitFor(async () => (await settings(to)).limit === value)
      expect((await settings(to)).versions).toEqual((await settings(from)).versions)
      // Compare-and-set holds across releases.
      expect(await ask(to, '/settings', { value: 1, ifVersion: before })).toMatchObject({
        status: 409,
        body: { code: 'SCALE_SETTINGS_CONFLICT' },
      })
    })

    test('a job that one adds the other runs, once for each key', async () => {
      const add = () => ask<{ id: string }>(from, `/jobs/${to}`, { n: 21, key: `key-of-${from}` })
      const [first, second] = [await add(), await add()]
      expect(second.body.id).toBe(first.body.id)
      const result = await ask(from, `/jobs/${to}/${first.body.id}`)
      expect(result).toMatchObject({ status: 200, body: { by: to, double: 42, reruns: 0 } })
    })

    test('a file that one has stored the other opens and deletes', async () => {
      const form = new FormData()
      form.set('file', new Blob([`from ${from}`], { type: 'text/plain' }), 'a.txt')
      const { status, body } = await ask<{ url: string }>(from, '/files', undefined, { method: 'POST', body: form })
      expect(status).toBe(200)
      const { body: signed } = await ask<{ url: string }>(to, '/files/sign', { url: body.url })
      expect(await (await fetch(signed.url)).text()).toBe(`from ${from}`)
      expect((await ask(to, '/files/delete', { url: body.url })).status).toBe(200)
      expect((await fetch(signed.url)).status).toBe(404)
    })
  })
}
