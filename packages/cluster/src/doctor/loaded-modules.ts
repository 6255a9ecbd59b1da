import { existsSync } from 'node:fs'
import { Session } from 'node:inspector'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The files under `root`, without those of packages, that this process has loaded as modules by now. */
export function loadedModules(root: string): string[] {
  const files = new Set<string>()
  // V8 tells of ES modules too, which no list of Node's has; within one thread the session answers at once.
  const session = new Session()
  session.connect()
  session.on('Debugger.scriptParsed', ({ params: { url } }) => {
    const file = url.startsWith('file:') ? fileURLToPath(url) : url
    if (file.startsWith(root + sep) && !file.includes(`${sep}node_modules${sep}`) && existsSync(file)) files.add(file)
  })
  session.post('Debugger.enable')
  session.post('Debugger.disable')
  session.disconnect()
  return [...files]
}
