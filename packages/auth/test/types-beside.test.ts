import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

it('compiles beside the types of @fastify/jwt and @fastify/auth, from what is published', () => {
  const project = fileURLToPath(new URL('fixtures/beside', import.meta.url))
  const require = createRequire(new URL('../../../package.json', import.meta.url))
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project], { encoding: 'utf8' })
  expect(stdout).toBe('')
  expect(status).toBe(0)
})
