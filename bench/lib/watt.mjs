import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { STANDALONE } from './apps.mjs'
import { runCommand, startProcess } from './children.mjs'

/** Watt, with its workers as threads of one process, on the Node that came with it. */
export function startWatt({ tools, workers, port, env }) {
  const folder = join(tools.watt, `app-${port}`)
  mkdirSync(folder, { recursive: true })
  const write = (name, value) => writeFileSync(join(folder, name), JSON.stringify(value))
  write('package.json', { name: 'bench', private: true, type: 'module', main: 'index.mjs' })
  write('watt.json', {
    $schema: 'https://schemas.platformatic.dev/@platformatic/node/3.0.0.json',
    runtime: { server: { hostname: '127.0.0.1', port }, workers, logger: { level: 'info' } },
    node: { main: 'index.mjs' },
  })
  writeFileSync(join(folder, 'index.mjs'), `export { create } from ${JSON.stringify(STANDALONE)}\n`)
  const node = join(tools.watt, 'node_modules/node/bin/node')
  const bin = join(tools.watt, 'node_modules/wattpm/bin/cli.js')
  const watt = { ...env, WATT: '1' }
  const server = startProcess([node, bin, 'start'], { env: watt, cwd: folder })
  return {
    ...server,
    ready: server.said(/is now listening at/),
    // `wattpm reload` ends the process before it starts the next one; it is `restart` that replaces worker by worker.
    reload: () => runCommand([node, bin, 'restart', String(server.pid)], { env: watt, cwd: folder }),
  }
}
