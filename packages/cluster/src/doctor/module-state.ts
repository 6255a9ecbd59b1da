import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

/**
 * Places in `files`, the app's modules, where one keeps something that its functions change: candidates for the cause of
 * state that was seen, not findings by themselves.
 */
export function moduleState(root: string, files: string[]): string[] {
  const sources = files.map((file) => ({ file, text: readFileSync(file, 'utf8') }))
  const all = sources.map(({ text }) => text).join('\n')
  return sources.flatMap(({ file, text }) => stateIn(text, all).map((line) => `${relative(root, file)}:${line}`))
}

/**
 * Lines (from 1) of declarations that are changed: further down, or anywhere in `all` where they are exported.
 */
export function stateIn(source: string, all: string = source): number[] {
  const lines = source.split('\n')
  return lines.flatMap((line, index) => {
    const match = DECLARATION.exec(line)
    const name = match?.[2] ?? match?.[3]
    if (!match || name === undefined) return []
    const later = lines.slice(index + 1).join('\n')
    const changed = (match[2] !== undefined && isAssigned(name, later)) || isMutated(name, match[1] ? all : later)
    return changed ? [index + 1] : []
  })
}

/** Of a module or a plugin: at most one level in. */
const DECLARATION =
  /^(?: {0,4}|\t)(export )?(?:(?:let|var) (\w+)\b|const (\w+)(?:: [^=]+)? = (?:new (?:Map|Set|WeakMap|Array)\b|\[|\{))/

function isAssigned(name: string, text: string): boolean {
  return new RegExp(`(?:^|[^.\\w'"])${name}\\s*(?:[-+*/]?=(?!=)|\\+\\+|--)|(?:\\+\\+|--)${name}\\b`, 'm').test(text)
}

function isMutated(name: string, text: string): boolean {
  const call = '\\.(?:set|add|delete|clear|push|unshift|splice|pop|shift)\\('
  const field = '(?:\\.\\w+|\\[[^\\]]+\\])\\s*(?:[-+]?=(?!=)|\\+\\+|--)'
  return new RegExp(`(?:^|[^.\\w'"])${name}(?:${call}|${field})`, 'm').test(text)
}
