import { createHash, sign } from 'node:crypto'
import { type TestKey, b64, forge, forgeHmac, goodClaims, goodHeader, json, makeKey, signature } from './forge.ts'

/** Order of P-256. */
const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

export interface HostileInput {
  rs: TestKey
  es: TestKey
  ed: TestKey
}

/**
 * Tokens that no service may accept, by name. Where a token is wrong in one thing, all else is right, the signature too.
 * The keys are those of the service; every key here may also be asked to sign.
 */
export function hostileTokens({ rs, es, ed }: HostileInput): [name: string, token: string][] {
  const now = Math.floor(Date.now() / 1_000)
  const claims = goodClaims(now)
  const header = goodHeader(rs)
  const good = forge(rs, header, claims)
  const [h, p, s] = good.split('.') as [string, string, string]
  const stranger = makeKey('RS256', rs.kid)
  const pem = rs.publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = rs.publicKey.export({ type: 'spki', format: 'der' })
  const pkcs1 = rs.publicKey.export({ type: 'pkcs1', format: 'pem' }) as string
  const publicJwk = rs.publicKey.export({ format: 'jwk' })
  const text = JSON.stringify(claims)

  const withHeader = (change: object, key = rs): string => forge(key, { ...goodHeader(key), ...change }, claims)
  const withClaims = (change: object): string => forge(rs, header, { ...claims, ...change })
  const withText = (payload: string): string => forge(rs, header, payload)
  const without = (name: string): string => {
    const { [name]: _, ...rest } = claims
    return forge(rs, header, rest)
  }
  const unsigned = (alg: string, sig = ''): string => `${b64(json({ ...header, alg }))}.${b64(text)}.${sig}`
  const withSignature = (sig: Buffer | string, key = rs): string =>
    `${b64(json(goodHeader(key)))}.${b64(text)}.${typeof sig === 'string' ? sig : b64(sig)}`
  const inputOf = (key: TestKey): string => `${b64(json(goodHeader(key)))}.${b64(text)}`
  const respell = (part: string): string => {
    const last = part.at(-1) as string
    return part.slice(0, -1) + (DIGITS[DIGITS.indexOf(last) ^ 1] as string)
  }
  const ecSignature = signature(inputOf(es), es)
  const r = ecSignature.subarray(0, 32)
  const sValue = BigInt(`0x${ecSignature.subarray(32).toString('hex')}`)
  const int = (value: bigint, bytes = 32): Buffer => Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex')
  const ecDer = sign('sha256', Buffer.from(inputOf(es)), es.privateKey)
  const edSignature = signature(inputOf(ed), ed)
  const edOrder = 2n ** 252n + 27742317777372353535851937790883648493n
  const edS = BigInt(`0x${Buffer.from(edSignature.subarray(32)).reverse().toString('hex')}`)
  // Of a length that does not fill its last character, so that a second spelling exists.
  const padded = ((): string => {
    for (let i = 0; ; i++) {
      const token = withClaims({ pad: 'x'.repeat(i) })
      if ((token.split('.')[1] as string).length % 4 !== 0) return token
    }
  })()

  return [
    // Algorithms.
    ...['none', 'None', 'NONE', 'nOnE', 'none ', ''].map((alg): [string, string] => [
      `alg ${JSON.stringify(alg)}, no signature`,
      unsigned(alg),
    ]),
    ['alg none with the signature left on', unsigned('none', s)],
    ['alg none, two parts', `${b64(json({ alg: 'none' }))}.${p}`],
    ['alg none, signed', withHeader({ alg: 'none' })],
    ['alg null', withHeader({ alg: null })],
    ['alg a number', withHeader({ alg: 256 })],
    ['alg a list', withHeader({ alg: ['RS256'] })],
    ['alg an object', withHeader({ alg: { toString: 'RS256' } })],
    ['alg in lower case', withHeader({ alg: 'rs256' })],
    ['alg missing', forge(rs, { typ: 'at+jwt', kid: rs.kid }, claims)],
    ['alg constructor', withHeader({ alg: 'constructor' })],
    ['alg __proto__', forge(rs, `{"alg":"__proto__","typ":"at+jwt","kid":"${rs.kid}"}`, claims)],
    ['alg RS512, a key that is fixed to RS256', withHeader({ alg: 'RS512' })],
    [
      'alg RS384, signed so',
      `${b64(json({ ...header, alg: 'RS384' }))}.${p}.${b64(sign('sha384', Buffer.from(`${b64(json({ ...header, alg: 'RS384' }))}.${p}`), rs.privateKey))}`,
    ],
    ['alg PS256, a key that is fixed to RS256', forge({ ...rs, alg: 'PS256' }, { ...header, alg: 'PS256' }, claims)],
    ['header RS256, signature PS256', forge({ ...rs, alg: 'PS256' }, header, claims)],
    ['HS256 with the public key as PEM', forgeHmac(pem, { ...header, alg: 'HS256' }, claims)],
    ['HS256 with the PEM without its last newline', forgeHmac(pem.trim(), { ...header, alg: 'HS256' }, claims)],
    ['HS256 with the public key as PKCS #1', forgeHmac(pkcs1, { ...header, alg: 'HS256' }, claims)],
    ['HS256 with the public key as DER', forgeHmac(der, { ...header, alg: 'HS256' }, claims)],
    ['HS256 with the public key as JWK', forgeHmac(JSON.stringify(publicJwk), { ...header, alg: 'HS256' }, claims)],
    [
      'HS256 with the modulus',
      forgeHmac(Buffer.from(publicJwk.n as string, 'base64url'), { ...header, alg: 'HS256' }, claims),
    ],
    [
      'HS256 with the public EC key',
      forgeHmac(
        es.publicKey.export({ type: 'spki', format: 'pem' }) as string,
        { ...goodHeader(es), alg: 'HS256' },
        claims,
      ),
    ],
    [
      'HS256 with the public Ed25519 key',
      forgeHmac(
        Buffer.from(ed.publicKey.export({ format: 'jwk' }).x as string, 'base64url'),
        { ...goodHeader(ed), alg: 'HS256' },
        claims,
      ),
    ],
    ['HS256 with an empty secret', forgeHmac('', { ...header, alg: 'HS256' }, claims)],
    ['HS512 with the public key', forgeHmac(pem, { ...header, alg: 'HS512' }, claims, 'sha512')],
    ['header RS256, signature HMAC', forgeHmac(pem, header, claims)],
    ['ES256 with the id of the RSA key', forge(es, { ...goodHeader(es), kid: rs.kid }, claims)],
    ['RS256 with the id of the EC key', forge(rs, { ...header, kid: es.kid }, claims)],

    // Keys that the token brings or names.
    [
      'an embedded jwk, signed with it',
      forge(stranger, { ...header, jwk: stranger.publicKey.export({ format: 'jwk' }) }, claims),
    ],
    ['an embedded jwk beside a good signature', withHeader({ jwk: publicJwk })],
    ['jku to another place', forge(stranger, { ...header, jku: 'http://127.0.0.1:1/jwks.json' }, claims)],
    ['x5u to another place', forge(stranger, { ...header, x5u: 'http://127.0.0.1:1/cert.pem' }, claims)],
    ['x5c with a certificate', forge(stranger, { ...header, x5c: [der.toString('base64')] }, claims)],
    ['another key under the same kid', forge(stranger, header, claims)],
    ...[
      'constructor',
      '__proto__',
      'toString',
      'hasOwnProperty',
      '../../../../dev/null',
      "' OR 1=1 --",
      '',
      ' ',
      `${rs.kid}\u0000`,
      rs.kid.toLowerCase(),
    ].map((kid): [string, string] => [`kid ${JSON.stringify(kid)}`, forge(rs, { ...header, kid }, claims)]),
    ['kid a list', withHeader({ kid: [rs.kid] })],
    ['kid an object', withHeader({ kid: { toString: rs.kid } })],
    ['kid a number', withHeader({ kid: 0 })],
    ['kid null', withHeader({ kid: null })],
    ['kid missing', forge(rs, { alg: 'RS256', typ: 'at+jwt' }, claims)],

    // Other header parameters.
    ['crit with an extension', withHeader({ crit: ['exp'], exp: 1 })],
    ['crit empty', withHeader({ crit: [] })],
    ['crit null', withHeader({ crit: null })],
    ['crit with b64', withHeader({ crit: ['b64'], b64: false })],
    ['b64 false without crit', withHeader({ b64: false })],
    ['zip', withHeader({ zip: 'DEF' })],
    ['cty JWT: a token in a token', withHeader({ cty: 'JWT' })],
    ['typ JWT: not an access token', withHeader({ typ: 'JWT' })],
    ['typ missing', forge(rs, { alg: 'RS256', kid: rs.kid }, claims)],
    ['typ a list', withHeader({ typ: ['at+jwt'] })],
    ['typ of an id token', withHeader({ typ: 'id+jwt' })],
    [
      'header twice alg, the good one last',
      forge(rs, `{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"${rs.kid}"}`, claims),
    ],
    ['header twice kid', forge(rs, `{"alg":"RS256","typ":"at+jwt","kid":"x","kid":"${rs.kid}"}`, claims)],
    ['header a list', forge(rs, '[]', claims)],
    ['header null', forge(rs, 'null', claims)],
    ['header text', forge(rs, '"RS256"', claims)],
    ['header not JSON', forge(rs, '{alg:RS256}', claims)],
    ['header with __proto__', forge(rs, `{"__proto__":{"alg":"RS256"},"typ":"at+jwt","kid":"${rs.kid}"}`, claims)],

    // Signatures.
    ['no signature', `${h}.${p}.`],
    ['signature of one byte', withSignature(Buffer.alloc(1))],
    ['signature of zeros', withSignature(Buffer.alloc(256))],
    ['signature of ones', withSignature(Buffer.alloc(256, 0xff))],
    ['signature cut by a byte', withSignature(Buffer.from(s, 'base64url').subarray(0, -1))],
    ['signature with a byte more', withSignature(Buffer.concat([Buffer.from(s, 'base64url'), Buffer.alloc(1)]))],
    ['signature with a zero before it', withSignature(Buffer.concat([Buffer.alloc(1), Buffer.from(s, 'base64url')]))],
    [
      'signature with a bit changed',
      withSignature(Buffer.from(Buffer.from(s, 'base64url').map((byte, i) => (i === 99 ? byte ^ 1 : byte)))),
    ],
    ['signature of other claims', `${h}.${b64(json({ ...claims, roles: ['admin'] }))}.${s}`],
    [
      'signature plus the modulus',
      withSignature(
        ((): Buffer => {
          const modulus = BigInt(`0x${Buffer.from(publicJwk.n as string, 'base64url').toString('hex')}`)
          return int(BigInt(`0x${Buffer.from(s, 'base64url').toString('hex')}`) + modulus, 257)
        })(),
      ),
    ],
    ['the hash alone as signature', withSignature(createHash('sha256').update(`${h}.${p}`).digest())],
    ['ES256, r and s zero', withSignature(Buffer.alloc(64), es)],
    ['ES256, r zero', withSignature(Buffer.concat([Buffer.alloc(32), ecSignature.subarray(32)]), es)],
    ['ES256, s zero', withSignature(Buffer.concat([r, Buffer.alloc(32)]), es)],
    ['ES256, r and s the order', withSignature(Buffer.concat([int(ORDER), int(ORDER)]), es)],
    ['ES256, s one more order', withSignature(Buffer.concat([int(0n, 1), r, int(sValue + ORDER, 33)]), es)],
    ['ES256, r one', withSignature(Buffer.concat([int(1n), int(1n)]), es)],
    ['ES256, DER instead of r and s', withSignature(ecDer, es)],
    ['ES256, 63 bytes', withSignature(ecSignature.subarray(0, 63), es)],
    ['ES256, 65 bytes', withSignature(Buffer.concat([ecSignature, Buffer.alloc(1)]), es)],
    [
      'ES256, 96 bytes as of P-384',
      withSignature(Buffer.concat([Buffer.alloc(16), r, Buffer.alloc(16), ecSignature.subarray(32)]), es),
    ],
    ['ES256, empty', withSignature('', es)],
    ['EdDSA, zeros', withSignature(Buffer.alloc(64), ed)],
    [
      'EdDSA, s plus the order',
      withSignature(Buffer.concat([edSignature.subarray(0, 32), int(edS + edOrder).reverse()]), ed),
    ],
    ['EdDSA, 63 bytes', withSignature(edSignature.subarray(0, 63), ed)],
    ['EdDSA, R the identity, s zero', withSignature(Buffer.concat([Buffer.from([1]), Buffer.alloc(63)]), ed)],

    // Encoding.
    ['padding after the signature', `${good}==`],
    ['padding after the header', `${h}=.${p}.${s}`],
    ['base64 instead of base64url', `${h}.${p}.${Buffer.from(s, 'base64url').toString('base64')}`],
    ['another spelling of the last character of the signature', respell(good)],
    [
      'another spelling of the last character of the payload',
      ((): string => {
        const [first, second, third] = padded.split('.') as [string, string, string]
        return `${first}.${respell(second)}.${third}`
      })(),
    ],
    ['a space before', ` ${good}`],
    ['a newline inside', `${h}.${p.slice(0, 10)}\n${p.slice(10)}.${s}`],
    ['a null byte at the end', `${good}\u0000`],
    ['a letter that is no ASCII', `${good}é`],
    ['an invisible letter', `${h}.${p}\u200b.${s}`],
    ['four parts', `${good}.${s}`],
    ['five parts, as of a JWE', `${h}.${p}.${s}.${p}.${s}`],
    ['a JWE', `${b64(json({ alg: 'dir', enc: 'A256GCM' }))}..${b64('iviviviviviv')}.${p}.${b64('tagtagtagtagtagt')}`],
    ['two parts', `${h}.${p}`],
    ['one part', h],
    ['dots alone', '..'],
    ['three letters', 'a.b.c'],
    ['nothing', ''],
    ['the JSON form of a JWS', json({ protected: h, payload: p, signature: s })],
    ['20 KB', withClaims({ pad: 'x'.repeat(15_000) })],
    ['1 MB', `${h}.${'A'.repeat(1_000_000)}.${s}`],
    ['1 MB of dots', '.'.repeat(1_000_000)],
    ['5,000 levels of lists', withText(`{"a":${'['.repeat(2_000)}${']'.repeat(2_000)},${text.slice(1)}`)],

    // Payloads.
    ['payload null', withText('null')],
    ['payload a list', withText('[]')],
    ['payload text', withText('"s"')],
    ['payload a number', withText('1')],
    ['payload not JSON', withText('{sub:u1}')],
    ['payload cut', withText(text.slice(0, -1))],
    ['payload with more behind it', withText(`${text}{}`)],
    ['payload with a byte order mark', withText(`\ufeff${text}`)],
    [
      'payload that is no UTF-8',
      ((): string => {
        const bytes = Buffer.concat([
          Buffer.from(`${text.slice(0, -1)},"x":"`),
          Buffer.from([0xff, 0xfe]),
          Buffer.from('"}'),
        ])
        const input = `${h}.${b64(bytes)}`
        return `${input}.${b64(signature(input, rs))}`
      })(),
    ],
    ['payload empty', forge(rs, header, '')],
    ['sub twice', withText(`{"sub":"admin",${text.slice(1)}`)],
    ['sub twice, once escaped', withText(`{"s\\u0075b":"admin",${text.slice(1)}`)],
    ['roles twice', withText(`${text.slice(0, -1)},"roles":["admin"]}`)],
    ['a duplicate deep down', withText(`${text.slice(0, -1)},"a":{"b":1,"b":2}}`)],
    ['__proto__ with claims', withText(`${text.slice(0, -1)},"__proto__":{"roles":["admin"]}}`)],
    ['__proto__ deep down', withText(`${text.slice(0, -1)},"a":[{"__proto__":{"x":1}}]}`)],
    ['__proto__ escaped', withText(`${text.slice(0, -1)},"\\u005f_proto__":{"roles":["admin"]}}`)],

    // Claims.
    ...['iss', 'aud', 'sub', 'exp', 'iat', 'jti'].map((name): [string, string] => [`${name} missing`, without(name)]),
    ...['iss', 'aud', 'sub', 'exp', 'iat', 'jti'].map((name): [string, string] => [
      `${name} null`,
      withClaims({ [name]: null }),
    ]),
    ['iss of another', withClaims({ iss: 'https://evil.example' })],
    ['iss a list with ours', withClaims({ iss: [claims['iss']] })],
    ['iss with a slash more', withClaims({ iss: `${String(claims['iss'])}/` })],
    ['aud of another', withClaims({ aud: 'https://other.example' })],
    ['aud an empty list', withClaims({ aud: [] })],
    ['aud a list with numbers', withClaims({ aud: [claims['aud'], 1] })],
    ['aud an object', withClaims({ aud: { 0: claims['aud'], length: 1 } })],
    ['aud a list with ours, which we never issue', withClaims({ aud: [claims['aud']] })],
    ['sub an object', withClaims({ sub: { $ne: null } })],
    ['sub a number', withClaims({ sub: 1 })],
    ['sub a list', withClaims({ sub: ['u1'] })],
    ['sub empty', withClaims({ sub: '' })],
    ['exp as text', withClaims({ exp: String(now + 300) })],
    ['exp 1e400', withText(text.replace(/"exp":\d+/, '"exp":1e400'))],
    ['exp -1e400', withText(text.replace(/"exp":\d+/, '"exp":-1e400'))],
    ['exp a fraction', withClaims({ exp: now + 300.5 - 1 })],
    ['exp true', withClaims({ exp: true })],
    ['exp a list', withClaims({ exp: [now + 300] })],
    ['exp an object', withClaims({ exp: {} })],
    ['exp in milliseconds', withClaims({ exp: (now + 300) * 1_000 })],
    ['exp negative', withClaims({ exp: -1 })],
    ['exp over', withClaims({ iat: now - 600, exp: now - 300 })],
    ['exp over by the tolerance', withClaims({ iat: now - 300, exp: now - 6 })],
    ['exp before iat', withClaims({ iat: now + 4, exp: now + 3 })],
    ['exp too far', withClaims({ exp: now + 301 })],
    ['iat in the future', withClaims({ iat: now + 60, exp: now + 120 })],
    ['iat as text', withClaims({ iat: String(now) })],
    ['iat a fraction', withClaims({ iat: now - 0.5 })],
    ['iat in milliseconds', withClaims({ iat: now * 1_000, exp: now * 1_000 + 300 })],
    ['nbf in the future', withClaims({ nbf: now + 60 })],
    ['nbf as text', withClaims({ nbf: 'now' })],
    ['nbf null', withClaims({ nbf: null })],
    ['roles text', withClaims({ roles: 'admin' })],
    ['roles with an object', withClaims({ roles: ['user', {}] })],
    ['roles an object', withClaims({ roles: { 0: 'admin', length: 1 } })],
    ['roles null', withClaims({ roles: null })],
    ['scope a list', withClaims({ scope: ['a'] })],
    ['jti a number', withClaims({ jti: 7 })],
    ['sid an object', withClaims({ sid: {} })],
    ['client_id empty', withClaims({ client_id: '' })],
  ]
}
