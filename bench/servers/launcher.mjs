// The launcher on the same app, from inside this process, so that the bench can read its address.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const cli = new URL('../node_modules/@fastify-scale/cluster/dist/cli.js', import.meta.url).pathname
const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-bench-'))
const args = [
  'start',
  process.argv[2],
  '--workers',
  process.env.WORKERS,
  '--port',
  process.env.PORT,
  '--host',
  '127.0.0.1',
  '--name',
  'bench',
  '--runtime-dir',
  dir,
]
if (process.env.BALANCE) args.push('--balance', process.env.BALANCE)
if (process.env.METRICS) args.push('--admin', process.env.METRICS)
const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
let text = ''
child.stdout.on('data', (data) => {
  text += data
  // All workers, not the first one alone.
  if (text && new RegExp(`${process.env.WORKERS} workers?"`).test(text) && !child.told) {
    child.told = true
    process.stdout.write(`{"url":"http://127.0.0.1:${process.env.PORT}"}\n`)
  }
})
process.on('SIGTERM', () => child.kill('SIGTERM'))
child.on('exit', (code) => {
  rmSync(dir, { recursive: true, force: true })
  process.exit(code ?? 1)
})
