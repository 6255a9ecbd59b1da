import { chmod, chown, lstat, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { waitFor } from '@fastify-scale/dev-services'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '@fastify-scale/kit'
import { createProgram } from '../src/cli.ts'
import type { Jwks } from '../src/index.ts'
import { type ServiceProcess, startService } from './processes.ts'
import { createService } from './service.ts'

let dir: string
let file: string
let services: ServiceProcess[] = []

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'scale-auth-'))
  file = join(dir, 'keys.json')
})
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()))
  await rm(dir, { recursive: true })
})

async function command(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const streams = {
    out: (line: string): void => void (out += `${line}\n`),
    err: (line: string): void => void (err += `${line}\n`),
  }
  const code = await runCli(createProgram(streams), argv, streams)
  return { code, out, err }
}

const keysIn = async (): Promise<Jwks> => JSON.parse(await readFile(file, 'utf8')) as Jwks
const kidOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()) as { kid: string }).kid

describe('fastify-scale-auth keys', () => {
  it('new: writes a key set that only its owner reads, and never over another', async () => {
    expect(await command('keys', 'new', file)).toMatchObject({ code: 0, err: '' })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const before = await keysIn()
    const again = await command('keys', 'new', file)
    expect(again.code).toBe(1)
    expect(again.err).toMatch(/is there already/)
    expect(await keysIn()).toEqual(before)
    const app = await createService({ keys: file })
    expect(kidOf((await app.auth.login({ sub: 'a' })).accessToken)).toBe(before.keys[0]?.kid)
    await app.close()
  })

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('new --alg %s: makes a key that works', async (alg) => {
    expect((await command('keys', 'new', file, '--alg', alg)).code).toBe(0)
    const app = await createService({ keys: file })
    const { accessToken } = await app.auth.login({ sub: 'a' })
    expect(app.auth.verify(accessToken).sub).toBe('a')
    await app.close()
  })

  it('rotate: publishes the next key, once; removes what no token needs any more', async () => {
    await command('keys', 'new', file, '--alg', 'ES256')
    const [first] = (await keysIn()).keys
    expect((await command('keys', 'rotate', file, '--active-in', '0s')).code).toBe(0)
    expect((await command('keys', 'rotate', file, '--active-in', '1h', '--keep', '0s')).out).toContain(
      `${first?.kid} is removed`,
    )
    const refused = await command('keys', 'rotate', file)
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/published and becomes active at/)
    const { keys } = await keysIn()
    expect(keys.map(({ alg }) => alg)).toEqual(['ES256', 'ES256'])
    const listed = (await command('keys', 'list', file)).out.trim().split('\n')
    expect(listed.map((line) => line.split(/ +/)[2])).toEqual(['next', 'active'])
    expect(listed[0]).toContain(keys[0]?.kid)
  })

  it('replace: leaves one new key', async () => {
    await command('keys', 'new', file)
    const [first] = (await keysIn()).keys
    expect((await command('keys', 'replace', file)).out).toContain(`${first?.kid} is removed`)
    const { keys } = await keysIn()
    expect(keys).toHaveLength(1)
    expect(keys[0]?.kid).not.toBe(first?.kid)
  })

  it('replace and rotate: of a link they change the file behind it', async () => {
    const link = join(dir, 'link', 'keys.json')
    await mkdir(join(dir, 'link'))
    await symlink('../keys.json', link)
    await command('keys', 'new', file, '--alg', 'ES256')
    const [leaked] = (await keysIn()).keys
    expect((await command('keys', 'replace', link)).code).toBe(0)
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect((await keysIn()).keys.map(({ kid }) => kid)).not.toContain(leaked?.kid)
    expect((await command('keys', 'rotate', link)).code).toBe(0)
    expect((await keysIn()).keys).toHaveLength(2)
  })

  it.runIf(process.getuid?.() === 0)(
    'rotate: keeps owner, group and mode, and where it must not it changes nothing',
    async () => {
      await command('keys', 'new', file, '--alg', 'ES256')
      await chown(file, 65_534, 65_533)
      await chmod(file, 0o640)
      expect((await command('keys', 'rotate', file, '--active-in', '0s')).code).toBe(0)
      const { uid, gid, mode } = await stat(file)
      expect([uid, gid, mode & 0o777]).toEqual([65_534, 65_533, 0o640])
      const before = await keysIn()
      await chown(file, 0, 0)
      await chmod(file, 0o644)
      await chmod(dir, 0o777)
      process.seteuid?.(65_534)
      const refused = await command('keys', 'rotate', file).finally(() => process.seteuid?.(0))
      expect(refused).toMatchObject({
        code: 1,
        err: expect.stringMatching(/owner and group of .* can't be kept \(EPERM\)/),
      })
      expect(await keysIn()).toEqual(before)
      await expect(stat(`${file}.new`)).rejects.toMatchObject({ code: 'ENOENT' })
    },
  )

  it('one rotation at a time: of ten at once one is done', async () => {
    await command('keys', 'new', file)
    const results = await Promise.all(Array.from({ length: 10 }, () => command('keys', 'rotate', file)))
    expect(results.filter(({ code }) => code === 0)).toHaveLength(1)
    for (const { code, err } of results)
      if (code !== 0) expect(err).toMatch(/another rotation is under way|becomes active at/)
    expect((await keysIn()).keys).toHaveLength(2)
    await expect(stat(`${file}.new`)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('says in one line what is wrong, and changes nothing', async () => {
    await writeFile(file, '{"keys":[{"kty":"RSA","kid":"x"}]}')
    for (const [argv, code, text] of [
      [['keys', 'rotate', file], 1, /names no 'alg'/],
      [['keys', 'rotate', join(dir, 'none.json')], 1, /is not there/],
      [['keys', 'new', join(dir, 'none', 'keys.json')], 1, /can't be written \(ENOENT\)/],
      [['keys', 'new'], 2, /name one file/],
      [['keys', 'new', 'a', 'b'], 2, /name one file/],
      [['keys', 'new', join(dir, 'b.json'), '--alg', 'HS256'], 2, /--alg must be/],
      [['keys', 'rotate', file, '--active-in', 'soon'], 2, /--active-in/],
      [['keys', 'melt', file], 2, /unknown command/],
    ] as const) {
      const result = await command(...argv)
      expect(result).toMatchObject({ code })
      expect(result.err).toMatch(text)
      expect(result.err.trim().split('\n')).toHaveLength(1)
    }
    expect(await readFile(file, 'utf8')).toBe('{"keys":[{"kty":"RSA","kid":"x"}]}')
  })
})

describe('a key rotation over six processes', () => {
  it('refuses no token: next, then active, then retired', async () => {
    await command('keys', 'new', file, '--alg', 'ES256')
    services = await Promise.all(
      Array.from({ length: 6 }, () => startService({ keys: file, keysRefresh: 200, accessTokenTtl: '1m' })),
    )
    const kids = new Set<string>()
    let checks = 0
    let rejections = 0
    let round = 0
    /** Every process issues; every process checks every token. */
    async function exercise(): Promise<void> {
      const issuers = round++ % 2 === 0 ? services.slice(0, 3) : services.slice(3)
      const tokens = (await Promise.all(issuers.map((service) => service.login({ sub: 'u1' })))).map(
        ({ accessToken }) => accessToken,
      )
      for (const token of tokens) kids.add(kidOf(token))
      for (const codes of await Promise.all(services.map((service) => service.check(tokens)))) {
        checks += codes.length
        rejections += codes.filter((code) => code !== null).length
      }
    }
    const [first] = (await keysIn()).keys
    await exercise()
    // Ahead by five times the time that a process takes to pick it up.
    await command('keys', 'rotate', file, '--active-in', '1s')
    const [second] = (await keysIn()).keys
    const oldToken = (await (services[0] as ServiceProcess).login({ sub: 'old' })).accessToken
    await waitFor(async () => {
      await exercise()
      return kids.has(second?.kid as string)
    })
    for (let i = 0; i < 10; i++) await exercise()
    // The token of the retired key lives on.
    expect((await Promise.all(services.map((service) => service.check([oldToken])))).flat()).toEqual(
      Array(6).fill(null),
    )
    expect([...kids].toSorted()).toEqual([first?.kid, second?.kid].toSorted())
    expect(checks).toBeGreaterThan(200)
    expect(rejections).toBe(0)
  })

  it('a file that is broken, or gone, leaves the keys as they were', async () => {
    await command('keys', 'new', file, '--alg', 'ES256')
    const [service] = (services = [await startService({ keys: file, keysRefresh: 100 })]) as [ServiceProcess]
    const { accessToken } = await service.login({ sub: 'a' })
    const good = await keysIn()
    for (const text of ['{', '{"keys":[]}', undefined]) {
      if (text === undefined) await rm(file)
      else await writeFile(file, text)
      const asked = performance.now()
      // Several loads later.
      await waitFor(() => performance.now() - asked > 350)
      expect(await service.check([accessToken])).toEqual([null])
    }
    await writeFile(file, JSON.stringify({ keys: good.keys }))
    await command('keys', 'replace', file)
    await waitFor(async () => (await service.check([accessToken]))[0] === 'SCALE_AUTH_TOKEN_INVALID')
  })
})
