// pm2 7 in cluster mode, in a home of its own.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const home = mkdtempSync(join(tmpdir(), 'pm2-bench-'))
const bin = join(process.env.PM2, 'node_modules/.bin/pm2')
const pm2 = (...args) =>
  execFileSync(bin, args, {
    env: { ...process.env, PM2_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  })
const config = join(home, 'ecosystem.config.cjs')
const script = new URL('standalone.mjs', import.meta.url).pathname
writeFileSync(
  config,
  `module.exports = { apps: [{ name: 'bench', script: ${JSON.stringify(script)}, exec_mode: 'cluster', instances: ${process.env.WORKERS}, wait_ready: true, env: { PORT: '${process.env.PORT}', NODE_ENV: 'production' } }] }`,
)
function stop() {
  try {
    pm2('kill')
  } catch {
    // It was gone already.
  }
  rmSync(home, { recursive: true, force: true })
  process.exit(0)
}
process.on('SIGTERM', stop)
pm2('start', config)
const pids = JSON.parse(pm2('jlist')).map(({ pid }) => pid)
const daemon = Number(execFileSync('cat', [join(home, 'pm2.pid')], { encoding: 'utf8' }))
process.stdout.write(`{"url":"http://127.0.0.1:${process.env.PORT}","pids":${JSON.stringify([daemon, ...pids])}}\n`)
setInterval(() => undefined, 60_000)
