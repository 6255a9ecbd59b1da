import { relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The frames of a stack, innermost first: absolute file and line. */
export function framesOf(stack: string): { file: string; line: number }[] {
  return stack.split('\n').flatMap((line) => {
    const match = /(?:\(|at (?:async )?)((?:file:\/\/|\/)[^():]*(?:%[^():]*)*):(\d+):\d+\)?$/.exec(line.trim())
    if (!match) return []
    const [, file = '', at] = match
    return [{ file: file.startsWith('file:') ? fileURLToPath(file) : file, line: Number(at) }]
  })
}

/** The innermost place in the app's own code, `file:line` relative to `root`. */
export function placeIn(root: string, stack: string): string | undefined {
  const frame = framesOf(stack).find(
    ({ file }) => file.startsWith(root + sep) && !file.includes(`${sep}node_modules${sep}`),
  )
  return frame && `${relative(root, frame.file)}:${frame.line}`
}

/** The innermost npm package in the stack. */
export function packageIn(stack: string): string | undefined {
  for (const { file } of framesOf(stack)) {
    const match = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)
    if (match) return match[1]
  }
  return undefined
}

/** Runs with stacks deep enough to reach the app's code through a library's. */
export function stackHere(): string {
  const holder: { stack?: string } = {}
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 60
  Error.captureStackTrace(holder, stackHere)
  const stack = holder.stack ?? ''
  Error.stackTraceLimit = before
  return stack
}
