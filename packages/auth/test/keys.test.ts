import { createPublicKey } from 'node:crypto'
import Fastify from 'fastify'
import { describe, expect, it, vi } from 'vitest'
import { type Jwk, type ScaleAuthOptions, keysChannel, scaleAuth, toJwk } from '../src/index.ts'
import { forge, forgeHmac, generate, goodClaims, goodHeader, makeKey, setOf } from './forge.ts'
import { ISSUER, SECRET, bearer, createService } from './service.ts'

const rs = makeKey('RS256')
const es = makeKey('ES256')
const ed = makeKey('EdDSA')
const ps = makeKey('PS256')

async function refusal(options: Partial<ScaleAuthOptions>): Promise<{ code: string; message: string }> {
  const app = Fastify()
  try {
    await app.register(scaleAuth, { issuer: ISSUER, ...options })
    await app.ready()
  } catch (error) {
    return error as { code: string; message: string }
  } finally {
    await app.close()
  }
  throw new Error('it was accepted')
}

const pemOf = (key: typeof rs): string => key.publicKey.export({ type: 'spki', format: 'pem' }) as string
const derOf = (key: typeof rs): Buffer => key.publicKey.export({ type: 'spki', format: 'der' })

describe('a secret', () => {
  it.each<[string, string | Uint8Array]>([
    ['empty', ''],
    ['31 bytes', SECRET.slice(0, 31)],
    ['one letter, repeated', 'a'.repeat(64)],
    ['a public key as PEM', pemOf(rs)],
    ['a private key as PEM', rs.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string],
    ['PEM behind other text', `key: ${pemOf(es)}`],
    ['PEM with a space in its first line', pemOf(rs).replace('-----BEGIN', '----- BEGIN')],
    ['a PKCS #1 PEM', rs.publicKey.export({ type: 'pkcs1', format: 'pem' }) as string],
    ['DER', derOf(rs)],
    ['DER of an EC key', derOf(es)],
    ['a private key as DER', ed.privateKey.export({ type: 'pkcs8', format: 'der' })],
    ['DER in base64', derOf(rs).toString('base64')],
    ['DER in base64url', derOf(es).toString('base64url')],
    ['PEM in base64', Buffer.from(pemOf(rs)).toString('base64')],
    ['a JWK', JSON.stringify(rs.publicKey.export({ format: 'jwk' }))],
    ['a JWK set', JSON.stringify({ keys: [es.publicKey.export({ format: 'jwk' })] }, null, 2)],
    ['a symmetric JWK', JSON.stringify({ kty: 'oct', k: Buffer.alloc(32, 7).toString('base64url') })],
    ['a JWK in base64', Buffer.from(JSON.stringify(rs.publicKey.export({ format: 'jwk' }))).toString('base64')],
    ['a key of SSH', `ssh-rsa ${derOf(rs).toString('base64')}`],
  ])('that is %s is refused, and not repeated in the message', async (_name, secret) => {
    const error = await refusal({ secret })
    expect(error.code).toBe('SCALE_AUTH_KEY')
    const text = Buffer.from(secret).toString('latin1')
    if (text.length > 40) expect(error.message).not.toContain(text.slice(20, 40))
  })

  it('can be changed: the first signs, the others are still accepted', async () => {
    const older = await createService({ secret: `${SECRET}-old` })
    const between = await createService({ secret: [SECRET, `${SECRET}-old`] })
    const newer = await createService({ secret: SECRET })
    const [fromOld, fromBetween] = [await older.auth.login({ sub: 'a' }), await between.auth.login({ sub: 'b' })]
    expect(between.auth.verify(fromOld.accessToken).sub).toBe('a')
    expect(newer.auth.verify(fromBetween.accessToken).sub).toBe('b')
    expect(() => newer.auth.verify(fromOld.accessToken)).toThrow(expect.objectContaining({ statusCode: 401 }))
    await Promise.all([older, between, newer].map((app) => app.close()))
  })

  it('accepts no other length of tag and no other hash', async () => {
    const app = await createService()
    const { accessToken } = await app.auth.login({ sub: 'a' })
    const [h, p, s] = accessToken.split('.') as [string, string, string]
    const header = JSON.parse(Buffer.from(h, 'base64url').toString()) as Record<string, unknown>
    const tag = Buffer.from(s, 'base64url')
    for (const wrong of [
      `${h}.${p}.${tag.subarray(0, 16).toString('base64url')}`,
      `${h}.${p}.${tag.subarray(0, 31).toString('base64url')}`,
      `${h}.${p}.${tag.subarray(0, 1).toString('base64url')}`,
      `${h}.${p}.${Buffer.concat([tag, Buffer.alloc(1)]).toString('base64url')}`,
      `${h}.${p}.${Buffer.concat([tag, tag]).toString('base64url')}`,
      forgeHmac(SECRET, { ...header, alg: 'HS512' }, goodClaims(), 'sha512'),
      forgeHmac(SECRET, header, goodClaims(), 'sha512'),
      forgeHmac(SECRET, { ...header, alg: 'none' }, goodClaims()),
      forgeHmac(`${SECRET}x`, header, goodClaims()),
      forgeHmac('', header, goodClaims()),
      forgeHmac(SECRET, { alg: 'HS256', typ: 'at+jwt' }, goodClaims()),
      forge(rs, header, goodClaims()),
    ])
      expect(() => app.auth.verify(wrong)).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_INVALID' }))
    expect(app.auth.verify(forgeHmac(SECRET, header, goodClaims())).sub).toBe('u1')
    await app.close()
  })
})

describe('a key of one of the algorithms', () => {
  it.each([rs, ps, es, ed].map((key) => [key.alg, key] as const))('%s signs and verifies', async (_alg, key) => {
    const app = await createService({ keys: setOf(key) })
    const { accessToken } = await app.auth.login({ sub: 'a' })
    expect(JSON.parse(Buffer.from(accessToken.split('.')[0] as string, 'base64url').toString())).toEqual(
      goodHeader(key),
    )
    expect((await app.inject({ url: '/me', headers: bearer(accessToken) })).json()).toMatchObject({ sub: 'a' })
    expect(app.auth.verify(forge(key, goodHeader(key), goodClaims())).sub).toBe('u1')
    await app.close()
  })

  it('can come from PEM', async () => {
    const pem = es.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const app = await createService({ keys: { keys: [{ ...toJwk(pem, 'key'), kid: 'from-pem' }] } })
    expect((await app.auth.login({ sub: 'a' })).expiresIn).toBe(300)
    await app.close()
    expect(() => toJwk('nonsense', 'the key')).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_KEY' }))
  })
})

const small = generate('rsa', { modulusLength: 1024 }).export({ format: 'jwk' }) as Jwk
const p384 = generate('ec', { namedCurve: 'P-384' }).export({ format: 'jwk' }) as Jwk
const k1 = generate('ec', { namedCurve: 'secp256k1' }).export({ format: 'jwk' }) as Jwk
const x25519 = generate('x25519').export({ format: 'jwk' }) as Jwk
const hex = (text: string): string => Buffer.from(text, 'hex').toString('base64url')
// A modulus of 65537's subgroup modulo every prime of the fingerprint: built as 65537^a mod the primes' product.
const roca = ((): string => {
  const product = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157].reduce(
    (a, b) => a * BigInt(b),
    1n,
  )
  let power = 1n
  for (let i = 0; i < 12_345; i++) power = (power * 65_537n) % product
  let modulus = (1n << 2047n) - ((1n << 2047n) % product) + power + product
  if (modulus % 2n === 0n) modulus += product
  return Buffer.from(modulus.toString(16), 'hex').toString('base64url')
})()

/** Keys that no set may hold, whole sets where that matters. */
const badKeys: [name: string, keys: Jwk | Jwk[], reason?: RegExp][] = [
  ['no kid', { ...rs.jwk, kid: undefined }],
  ['an empty kid', { ...rs.jwk, kid: '' }],
  ['a kid that is no text', { ...rs.jwk, kid: 7 as unknown as string }],
  ['two keys with one kid', [rs.jwk, { ...es.jwk, kid: rs.kid }]],
  [
    'a symmetric key beside an asymmetric one',
    [rs.jwk, { kty: 'oct', kid: 'h', alg: 'HS256', k: Buffer.from(SECRET).toString('base64url') }],
  ],
  ['RSA without alg', { ...rs.jwk, alg: undefined }],
  ['alg none', { ...rs.jwk, alg: 'none' }],
  ['alg HS256 for RSA', { ...rs.jwk, alg: 'HS256' }],
  ['alg ES256 for RSA', { ...rs.jwk, alg: 'ES256' }],
  ['alg RS512', { ...rs.jwk, alg: 'RS512' }],
  ['alg RSA-OAEP', { ...rs.jwk, alg: 'RSA-OAEP' }],
  ['alg RS256 for EC', { ...es.jwk, alg: 'RS256' }],
  ['alg constructor', { ...rs.jwk, alg: 'constructor' }],
  ['use enc', { ...rs.jwk, use: 'enc' }],
  ['use of an unknown kind', { ...rs.jwk, use: 'SIG' }],
  ['key_ops encrypt', { ...rs.jwk, key_ops: ['encrypt'] }],
  ['key_ops verify alone on a private key', { ...rs.jwk, key_ops: ['verify'] }],
  ['key_ops empty', { ...rs.jwk, key_ops: [] }],
  ['key_ops text', { ...rs.jwk, key_ops: 'sign' as unknown as string[] }],
  ['key_ops twice the same', { ...rs.jwk, key_ops: ['sign', 'sign'] }],
  ['1,024 bits', { ...small, kid: 'x', alg: 'RS256' }, /1024 bits/],
  ['e = 1', { ...rs.jwk, e: 'AQ' }, /not safe/],
  ['e = 0', { ...rs.jwk, e: 'AA' }],
  ['e even', { ...rs.jwk, e: 'AQAA' }],
  ['e of 64 bits', { ...rs.jwk, e: hex('ffffffffffffffff') }],
  ['e missing', { ...rs.jwk, e: undefined }],
  ['n missing', { ...rs.jwk, n: undefined }],
  ['n even', { ...rs.jwk, n: hex(`c0${'00'.repeat(255)}`) }, /even/],
  ['n with padding', { ...rs.jwk, n: `${rs.jwk.n}==` }],
  ['n in base64', { ...rs.jwk, n: Buffer.from(rs.jwk.n as string, 'base64url').toString('base64') }],
  ['n of another key', { ...rs.jwk, n: ps.jwk.n }],
  [
    'n of 16,384 bits',
    { kty: 'RSA', kid: 'x', alg: 'RS256', e: 'AQAB', n: hex(`${'ff'.repeat(2_048)}`) },
    /16384 bits/,
  ],
  ['n with the fingerprint of ROCA', { kty: 'RSA', kid: 'x', alg: 'RS256', e: 'AQAB', n: roca }, /ROCA/],
  ['more than two primes', { ...rs.jwk, oth: [{}] } as Jwk],
  ['curve P-384', { ...p384, kid: 'x' }],
  ['curve secp256k1', { ...k1, kid: 'x', alg: 'ES256' }],
  ['another curve under the name of P-256', { ...k1, crv: 'P-256', kid: 'x' }],
  ['a point off the curve', { ...es.jwk, y: es.jwk.x }],
  ['the point zero', { ...es.jwk, x: hex('00'.repeat(32)), y: hex('00'.repeat(32)) }],
  ['x too short', { ...es.jwk, x: hex('01'.repeat(31)) }],
  [
    'x with a zero more',
    {
      ...es.jwk,
      x: Buffer.concat([Buffer.alloc(1), Buffer.from(es.jwk.x as string, 'base64url')]).toString('base64url'),
    },
  ],
  // From Node 26 on OpenSSL itself refuses it.
  ['the private part of another key', { ...es.jwk, d: makeKey('ES256').jwk.d }, /does not belong|is not a valid key/],
  ['X25519', { ...x25519, kid: 'x' }],
  ['X25519 as Ed25519', { ...x25519, crv: 'Ed25519', kid: 'x' }],
  ['Ed448', { kty: 'OKP', crv: 'Ed448', kid: 'x', x: hex('01'.repeat(57)) }, /not supported/],
  ['Ed25519 of small order', { kty: 'OKP', crv: 'Ed25519', kid: 'x', x: hex(`01${'00'.repeat(31)}`) }, /small order/],
  ['Ed25519 zero', { kty: 'OKP', crv: 'Ed25519', kid: 'x', x: hex('00'.repeat(32)) }, /small order/],
  [
    'Ed25519 of small order, not reduced',
    { kty: 'OKP', crv: 'Ed25519', kid: 'x', x: hex(`ee${'ff'.repeat(30)}7f`) },
    /small order/,
  ],
  [
    'Ed25519 of small order, other sign',
    { kty: 'OKP', crv: 'Ed25519', kid: 'x', x: hex(`ec${'ff'.repeat(31)}`) },
    /small order/,
  ],
  ['oct without alg', { kty: 'oct', kid: 'x', k: Buffer.from(SECRET).toString('base64url') }],
  ['oct of 16 bytes', { kty: 'oct', kid: 'x', alg: 'HS256', k: hex('000102030405060708090a0b0c0d0e0f') }],
  ['oct that is a public key', { kty: 'oct', kid: 'x', alg: 'HS256', k: Buffer.from(pemOf(rs)).toString('base64url') }],
  ['kty in lower case', { ...rs.jwk, kty: 'rsa' }],
  ['kty missing', { ...rs.jwk, kty: undefined }],
  ['kty constructor', { ...rs.jwk, kty: 'constructor' }],
  ['activeFrom that is no time', { ...rs.jwk, activeFrom: 'tomorrow' }],
  ['no key that is active yet', { ...rs.jwk, activeFrom: '2999-01-01T00:00:00Z' }, /no private key that is active/],
  [
    'public keys alone',
    { ...(createPublicKey(rs.privateKey).export({ format: 'jwk' }) as Jwk), kid: 'x', alg: 'RS256' },
    /no private key/,
  ],
  ['none at all', []],
  ['null', [null as unknown as Jwk]],
  ['text', ['key' as unknown as Jwk]],
]

describe('a key set of our own', () => {
  it.each(badKeys)('with %s is refused, and no part of a key is in the message', async (_name, keys, reason = /./) => {
    const error = await refusal({ keys: { keys: [keys].flat() } })
    expect(error.code).toBe('SCALE_AUTH_KEY')
    expect(error.message).toMatch(reason)
    for (const secret of [rs.jwk.d, es.jwk.d, ed.jwk.d, SECRET]) expect(error.message).not.toContain(secret)
  })

  it.each([[null], [[]], [{}], [{ keys: {} }], [{ keys: 'x' }], [7]])('%j is refused', async (keys) => {
    expect((await refusal({ keys: keys as never })).code).toMatch(/^SCALE_AUTH_(KEY|OPTION)$/)
  })

  it('as the public keys of another issuer, given by hand, must be wholly public and good', async () => {
    const publicJwk = { ...(rs.publicKey.export({ format: 'jwk' }) as Jwk), kid: rs.kid, alg: 'RS256' }
    expect((await refusal({ keys: { keys: [rs.jwk] }, profile: {} })).message).toMatch(/private/)
    expect(
      (await refusal({ keys: { keys: [publicJwk, { ...small, d: undefined, kid: 'x', alg: 'RS256' }] }, profile: {} }))
        .code,
    ).toBe('SCALE_AUTH_KEY')
    const app = await createService({ keys: { keys: [publicJwk] }, profile: {} })
    expect(app.auth.verify(forge(rs, goodHeader(rs), goodClaims())).sub).toBe('u1')
    await expect(app.auth.login({ sub: 'a' })).rejects.toMatchObject({ code: 'SCALE_AUTH_UNSUPPORTED' })
    expect((await app.inject('/.well-known/jwks.json')).statusCode).toBe(404)
    await app.close()
  })
})

describe('a function that gives the keys', () => {
  it('and once never settles is given up, told of, and called again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const told: string[] = []
    const stop = keysChannel.subscribe(({ event, reason }) => told.push(`${event} ${reason ?? ''}`))
    let calls = 0
    const keys = () => (++calls === 2 ? new Promise<never>(() => undefined) : setOf(calls < 3 ? es : rs))
    const app = await createService({ keys, keysRefresh: 200 })
    try {
      await vi.advanceTimersByTimeAsync(1_000)
      expect(calls).toBe(2)
      await vi.advanceTimersByTimeAsync(11_000)
      expect(told.slice(0, 3)).toEqual(['loaded ', expect.stringMatching(/^failed .*'keys'.* 10000 ms/), 'loaded '])
      expect(app.auth.jwks().keys.map(({ kid }) => kid)).toEqual([rs.kid])
    } finally {
      stop()
      vi.useRealTimers()
      await app.close()
    }
  })
})
