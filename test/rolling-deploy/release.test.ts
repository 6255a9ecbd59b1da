import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { previousCommit } from './release.ts'

const work = mkdtempSync(join(tmpdir(), 'fastify-scale-release-'))
const whole = join(work, 'whole')
const git = (root: string, ...args: string[]): string =>
  execFileSync('git', ['-C', root, '-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
const of = (root: string, PREVIOUS?: string) => previousCommit(root, { PREVIOUS })
let first: string

function commit(file: string, text: string): string {
  writeFileSync(join(whole, file), text)
  git(whole, 'add', '.')
  git(whole, 'commit', '-q', '-m', text)
  return git(whole, 'rev-parse', 'HEAD')
}

beforeAll(() => {
  mkdirSync(join(whole, 'packages/kit/src'), { recursive: true })
  git(whole, 'init', '-q')
  first = commit('packages/kit/src/index.ts', 'one')
  commit('packages/kit/src/index.ts', 'two')
  commit('README.md', 'three')
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

describe('the release before', () => {
  test('is the last commit with other sources', () => {
    expect(of(whole)).toBe(first)
  })

  test('is the last commit where the sources have changed since', () => {
    const changed = join(work, 'changed')
    cpSync(whole, changed, { recursive: true })
    writeFileSync(join(changed, 'packages/kit/src/index.ts'), 'four')
    expect(of(changed)).toBe(git(whole, 'rev-parse', 'HEAD'))
  })

  test.each([1, 2])('is not known in a clone of depth %i', (depth) => {
    const clone = join(work, `depth-${depth}`)
    git(work, 'clone', '-q', '--depth', String(depth), `file://${whole}`, clone)
    expect(of(clone)).toBeUndefined()
  })

  test('is not known in a tarball, inside another repository too', () => {
    for (const place of [join(work, 'tarball'), join(whole, 'ignored')]) {
      mkdirSync(place)
      cpSync(join(whole, 'packages'), join(place, 'packages'), { recursive: true })
      expect(of(place)).toBeUndefined()
    }
  })

  test('is the one that PREVIOUS names, which must be there', () => {
    expect(of(whole, 'HEAD')).toBe(git(whole, 'rev-parse', 'HEAD'))
    expect(() => of(whole, 'v0.0.1')).toThrow('PREVIOUS=v0.0.1 is no commit that git knows here')
  })
})
