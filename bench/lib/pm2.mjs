import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { STANDALONE } from './apps.mjs'
import { runCommand } from './children.mjs'

/** pm2 in cluster mode, with a daemon in a home of its own; `wait_ready`, as its guide to reloads has it. */
export async function startPm2({ tools, workers, env, node }) {
  const home = mkdtempSync(join(tmpdir(), 'pm2-bench-'))
  const bin = join(tools.pm2, 'node_modules/pm2/bin/pm2')
  const pm2 = (...args) => runCommand([node, bin, ...args], { env: { ...env, PM2_HOME: home } })
  const config = join(home, 'ecosystem.config.cjs')
  const app = { name: 'bench', script: STANDALONE, exec_mode: 'cluster', instances: workers, wait_ready: true }
  writeFileSync(config, `module.exports = ${JSON.stringify({ apps: [{ ...app, listen_timeout: 30_000 }] })}`)
  await pm2('start', config)
  return {
    pid: Number(readFileSync(join(home, 'pm2.pid'), 'utf8')),
    // `pm2 start` has waited for all of them.
    ready: Promise.resolve(),
    reload: () => pm2('reload', 'bench'),
    async stop() {
      await pm2('kill')
      rmSync(home, { recursive: true, force: true })
    },
  }
}
