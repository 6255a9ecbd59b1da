// Packs every published package as `pnpm publish` would, and asks publint and attw about the tarball.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders = [...readdirSync('packages').map((name) => `packages/${name}`), 'dev-services']
const out = mkdtempSync(join(tmpdir(), 'fastify-scale-pack-'))
const bin = (name) => join(process.cwd(), 'node_modules/.bin', name)
let passed = 0
let failed = 0

/** Runs a tool; its output is shown only where it fails. */
function check(what, command, args, cwd) {
  try {
    execFileSync(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
    passed++
  } catch (error) {
    failed++
    process.stdout.write(`✗ ${what}\n${error.stdout ?? ''}${error.stderr ?? ''}\n`)
  }
}

function report(what, ok) {
  if (ok) passed++
  else {
    failed++
    process.stdout.write(`✗ ${what}\n`)
  }
}

try {
  for (const folder of folders) {
    const { name, bin: commands = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const tarball = join(out, `${name.replace('/', '-')}.tgz`)
    // From the root, where .npmrc lets npx fetch pnpm without asking.
    execFileSync('npx', ['pnpm', '-C', folder, 'pack', '--out', tarball], { stdio: ['ignore', 'ignore', 'pipe'] })
    check(`${name}: publint`, bin('publint'), ['run', '--strict', tarball])
    check(`${name}: attw`, bin('attw'), ['--profile', 'esm-only', tarball])
    const files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' })
    for (const need of ['README.md', 'LICENSE', 'dist/index.js'])
      report(`${name}: ${need} is in the package`, files.includes(`package/${need}\n`))
    for (const command of Object.keys(commands))
      report(`${name}: command ${command} is in the package`, files.includes(`package/${commands[command].slice(2)}\n`))
    report(`${name}: no test and no build record is in the package`, !/package\/test\/|tsbuildinfo/.test(files))
  }
} finally {
  rmSync(out, { recursive: true, force: true })
}
process.stdout.write(`packages: ${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 ? 1 : 0
