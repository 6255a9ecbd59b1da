import { beforeEach, describe, expect, it } from 'vitest'
import type { KeySet } from '../src/key-set.ts'
import { loadKeySet } from '../src/key-set.ts'
import { type Verifier, createVerifier } from '../src/verifier.ts'
import { type TestKey, forge, goodClaims, goodHeader, makeKey, setOf } from './forge.ts'
import { ISSUER } from './service.ts'

const a = makeKey('ES256', 'a')
const b = makeKey('ES256', 'b')
/** Another key under the id of the first. */
const newA = makeKey('ES256', 'a')

let keys: KeySet
let verifier: Verifier
/** How often a header was read to its end: its key was looked for. */
let looked: number
/** How often a signature was checked. */
let checked: number
let now: number
let isRevoked: boolean

function useKeys(...list: TestKey[]): void {
  const set = loadKeySet(setOf(...list))
  const find = (kid: string): ReturnType<KeySet['find']> => {
    looked++
    const key = set.find(kid)
    return (
      key && {
        ...key,
        check(...args) {
          checked++
          return key.check(...args)
        },
      }
    )
  }
  keys = { ...set, find }
}

beforeEach(() => {
  looked = 0
  checked = 0
  now = Date.now()
  isRevoked = false
  useKeys(a, b)
  verifier = create(0)
})

const create = (cacheSize: number): Verifier =>
  createVerifier({
    profile: {
      typ: 'at+jwt',
      issuer: ISSUER,
      audience: [ISSUER],
      audienceLists: false,
      required: [],
      kidRequired: true,
      maxLifetime: 300,
      clockTolerance: 5,
    },
    keys: () => keys,
    isRevoked: () => isRevoked,
    cacheSize,
    now: () => now,
  })

const signed = (by: TestKey, header: object = goodHeader(by)): string => forge(by, header, goodClaims())
const refused = (token: string): void =>
  expect(() => verifier.verify(token)).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_INVALID' }))

describe('a header that was seen before', () => {
  it('is not read again where it came with a good signature', () => {
    for (let i = 0; i < 5; i++) expect(verifier.verify(signed(a)).sub).toBe('u1')
    expect(looked).toBe(1)
  })

  it('is read again where it came with a wrong one', () => {
    for (let i = 0; i < 5; i++) refused(signed(newA))
    expect(looked).toBe(5)
    expect(verifier.verify(signed(a)).sub).toBe('u1')
    refused(signed(newA))
  })

  it('is read again where it is wrong itself, though its signature is good', () => {
    for (let i = 0; i < 5; i++) refused(signed(a, { ...goodHeader(a), typ: 'JWT' }))
    expect(looked).toBe(5)
    for (let i = 0; i < 5; i++) refused(signed(a, { ...goodHeader(a), alg: 'EdDSA' }))
    expect(looked).toBe(10)
  })

  it('stands for its own key alone', () => {
    verifier.verify(signed(a))
    verifier.verify(signed(b))
    refused(signed(a, goodHeader(b)))
    refused(signed(b, goodHeader(a)))
  })

  it('is the same in every byte, or another one', () => {
    verifier.verify(signed(a))
    verifier.verify(signed(a, { kid: 'a', typ: 'at+jwt', alg: 'ES256' }))
    expect(looked).toBe(2)
    const [header, payload, signature] = signed(a).split('.') as [string, string, string]
    for (const part of [`${header}=`, ` ${header}`, header.slice(0, -1), `${header}A`])
      refused(`${part}.${payload}.${signature}`)
  })

  it('is read again after a change of the keys, and its old key is gone', () => {
    verifier.verify(signed(a))
    useKeys(newA, b)
    refused(signed(a))
    expect(verifier.verify(signed(newA)).sub).toBe('u1')
    useKeys(b)
    refused(signed(newA))
  })

  it('is kept of no more than 100 different ones; the others are read each time', () => {
    const padded = (n: number): string => signed(a, { ...goodHeader(a), n })
    for (let n = 0; n < 150; n++) verifier.verify(padded(n))
    expect(looked).toBe(150)
    for (let n = 0; n < 150; n++) expect(verifier.verify(padded(n)).sub).toBe('u1')
    expect(looked).toBe(200)
  })
})

describe('a token that comes again', () => {
  beforeEach(() => {
    verifier = create(100)
  })

  it('is kept from the second time on: its signature is not checked any more', () => {
    const token = signed(a)
    for (const times of [1, 2, 2, 2]) {
      expect(verifier.verify(token).sub).toBe('u1')
      expect(checked).toBe(times)
    }
    expect(verifier.holds(token)).toBe(true)
  })

  it('is checked as ever where it came once, or where none are kept', () => {
    const tokens = Array.from({ length: 50 }, () => signed(a))
    for (const token of tokens) verifier.verify(token)
    expect(tokens.some((token) => verifier.holds(token))).toBe(false)
    verifier = create(0)
    checked = 0
    for (let i = 0; i < 4; i++) verifier.verify(tokens[0] as string)
    expect(checked).toBe(4)
  })

  it('pushes out none that is kept, by coming once', () => {
    const kept = signed(a)
    for (let i = 0; i < 2; i++) verifier.verify(kept)
    for (let i = 0; i < 300; i++) verifier.verify(signed(a))
    expect(verifier.holds(kept)).toBe(true)
  })

  it('is refused all the same when it is expired, revoked, or its key is gone', () => {
    const [token, wrong] = [signed(a), forge(newA, goodHeader(a), goodClaims())]
    for (let i = 0; i < 3; i++) verifier.verify(token)
    for (let i = 0; i < 3; i++) refused(wrong)
    expect(verifier.holds(wrong)).toBe(false)
    isRevoked = true
    expect(() => verifier.verify(token)).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_REVOKED' }))
    isRevoked = false
    now += 400_000
    expect(() => verifier.verify(token)).toThrow(expect.objectContaining({ code: 'SCALE_AUTH_TOKEN_EXPIRED' }))
    now -= 400_000
    verifier.verify(token)
    useKeys(newA)
    refused(token)
  })

  it('is not taken for another with the same signature', () => {
    const token = signed(a)
    for (let i = 0; i < 3; i++) verifier.verify(token)
    const [header, , end] = token.split('.') as [string, string, string]
    const [, payload] = forge(a, goodHeader(a), { ...goodClaims(), sub: 'root' }).split('.') as [string, string]
    refused(`${header}.${payload}.${end}`)
  })
})
