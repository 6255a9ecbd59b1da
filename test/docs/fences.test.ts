import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const tsc = join(dirname(createRequire(join(root, 'package.json')).resolve('typescript/package.json')), 'bin/tsc')

/** What the examples take for granted. */
const GIVEN = `import type { FastifyInstance } from 'fastify'
declare global {
  const app: FastifyInstance
  const fastify: FastifyInstance
  const options: { redis?: string }
  const secret: string
  const db: any
  const products: any
  const withCsrf: any
  const canRead: any
  const checkPassword: any
  const removeUser: any
}
`
/** Those of the pages that stand alone, by a word of theirs. */
const EXAMPLES = [
  ['auth', /app\.auth\.login/],
  ['cache', /app\.cache\.getOrSet/],
  ['compress', /scaleCompress/],
  ['kit', /openConnections/],
  ['realtime', /authorizeRoom/],
  ['settings', /scaleSettings/],
  ['storage', /app\.storage\.upload/],
  ['storage', /completeDirectUpload/],
] as const

test('the examples of the readmes compile as they are pasted, in strict mode', () => {
  // Beside this file: the packages are found from there.
  const dir = mkdtempSync(fileURLToPath(new URL('fences-', import.meta.url)))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  for (const [index, [name, word]] of EXAMPLES.entries()) {
    const page = readFileSync(join(root, `packages/${name}/README.md`), 'utf8')
    const blocks = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code as string)
    const code = blocks.find((block) => word.test(block))
    expect(code, `${name}: ${String(word)}`).toBeDefined()
    writeFileSync(
      join(dir, `${name}-${index}.ts`),
      `import type {} from '@fastify-scale/${name}'\n${code}\nexport {}\n`,
    )
  }
  writeFileSync(join(dir, 'given.d.ts'), GIVEN)
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  }
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', dir], { cwd: dir, encoding: 'utf8' })
  expect(stdout).toBe('')
}, 120_000)
