import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { DevServicesError } from './errors.ts'
import { isAlive } from './proc.ts'

// Of two lines for one name the later one counts, for Node.js's --env-file and for dotenv.
const BLOCK = /^# fastify-scale begin (\d+)\r?\n(?:[^\n]*\n)*?# fastify-scale end \1(?:\r?\n|$)/gm

/**
 * Sets variables in a `.env` file, in a marked block after its own lines, which are never touched. Blocks of processes
 * that were killed go. Gives a function that takes the block out again, and leaves what was written meanwhile.
 * @throws SCALE_DEV_SERVICES_BAD_OPTION when the file can't be read or written, or a value can't stand in it
 */
export async function setInEnvFile(path: string, env: Record<string, string>): Promise<() => Promise<void>> {
  try {
    return await setIn(path, env)
  } catch (error) {
    if (error instanceof DevServicesError) throw error
    const why = (error as Error).message
    throw new DevServicesError('SCALE_DEV_SERVICES_BAD_OPTION', `can't use --write-env ${path}: ${why}`, {
      cause: error,
    })
  }
}

async function setIn(path: string, env: Record<string, string>): Promise<() => Promise<void>> {
  const before = await readIfThere(path)
  const others = without(before ?? '', (pid) => pid === process.pid || !isAlive(pid))
  // There was no file, or none but for us.
  const isOurs = before === undefined || (before !== '' && others === '')
  const needsEnd = others !== '' && !others.endsWith('\n')
  const lines = Object.entries(env).map(([name, value]) => `${name}=${quoted(name, value)}`)
  const block = [`# fastify-scale begin ${process.pid}`, ...lines, `# fastify-scale end ${process.pid}`, ''].join('\n')
  await replace(path, `${others}${needsEnd ? '\n' : ''}${block}`)

  return async () => {
    const now = await readIfThere(path)
    if (now === undefined) return
    const rest = without(now, (pid) => pid === process.pid)
    if (rest === '' && isOurs) await rm(path, { force: true })
    else await replace(path, needsEnd && rest === `${others}\n` ? others : rest)
  }
}

/** Without quotes a `#` ends a value, for Node.js and for dotenv. Neither knows a way to write a quote between its like. */
function quoted(name: string, value: string): string {
  if (/^[\w.:/@%+=?&,~-]*$/.test(value)) return value
  // Between double quotes \n is a new line: they come last.
  const quote = ["'", '`', '"'].find((one) => !value.includes(one))
  if (quote) return `${quote}${value}${quote}`
  throw new DevServicesError(
    'SCALE_DEV_SERVICES_BAD_OPTION',
    `${name} can't be written into a file for --write-env: it has all of ' " and \``,
  )
}

function without(text: string, isGone: (pid: number) => boolean): string {
  return text.replace(BLOCK, (block, pid: string) => (isGone(Number(pid)) ? '' : block))
}

/** Writes over the file and then cuts it: a process that is killed in between has lost none of the lines before ours. */
async function replace(path: string, text: string): Promise<void> {
  const file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!file) return writeFile(path, text, { mode: 0o600 })
  try {
    await file.writeFile(text)
    await file.truncate(Buffer.byteLength(text))
  } finally {
    await file.close()
  }
}

function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}
