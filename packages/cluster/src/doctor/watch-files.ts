import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Finding } from './findings.ts'
import { placeIn, stackHere } from './frames.ts'

const WRITERS = [
  'writeFile',
  'writeFileSync',
  'appendFile',
  'appendFileSync',
  'createWriteStream',
  'copyFile',
  'copyFileSync',
  'rename',
  'renameSync',
] as const
const OPENERS = ['open', 'openSync'] as const
const PROMISED = ['writeFile', 'appendFile', 'copyFile', 'rename', 'open'] as const

/** Reports files under `root` that are written while `inRequest()` names a request. Call it before the app is loaded. */
export function watchFiles(
  root: string,
  inRequest: () => string | undefined,
  report: (finding: Finding) => void,
): void {
  function look(target: unknown, flags: unknown): void {
    const request = inRequest()
    if (request === undefined || (flags !== undefined && !writes(flags))) return
    const path = pathOf(target)
    if (path === undefined || !path.startsWith(root + sep) || path.includes(`${sep}node_modules${sep}`)) return
    report({
      kind: 'file-written',
      message: `${request} writes ${path.slice(root.length + 1)}`,
      at: placeIn(root, stackHere()),
    })
  }
  function wrap(holder: object, name: string, targetIndex: number, flagged: boolean): void {
    const functions = holder as Record<string, (...args: unknown[]) => unknown>
    const original = functions[name] as (...args: unknown[]) => unknown
    functions[name] = function watched(this: unknown, ...args: unknown[]) {
      look(args[targetIndex], flagged ? (args[1] ?? 'r') : undefined)
      return original.apply(this, args)
    }
  }
  // Copies and renames write their second argument.
  for (const name of WRITERS) wrap(fs, name, /copy|rename/.test(name) ? 1 : 0, false)
  for (const name of OPENERS) wrap(fs, name, 0, true)
  for (const name of PROMISED) wrap(fs.promises, name, /copy|rename/.test(name) ? 1 : 0, name === 'open')
  // Named imports of 'node:fs' in the app see the same functions.
  syncBuiltinESMExports()
}

function writes(flags: unknown): boolean {
  return typeof flags === 'number'
    ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0
    : /[wa+]/.test(String(flags))
}

function pathOf(target: unknown): string | undefined {
  if (typeof target === 'string') return resolve(target)
  if (Buffer.isBuffer(target)) return resolve(target.toString())
  if (target instanceof URL && target.protocol === 'file:') return fileURLToPath(target)
  return undefined
}
