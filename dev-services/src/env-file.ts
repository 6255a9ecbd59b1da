import { readFile, rm, writeFile } from 'node:fs/promises'

/** Sets variables in a `.env` file, leaving its other lines; gives a function that puts the file back as it was. */
export async function setInEnvFile(path: string, env: Record<string, string>): Promise<() => Promise<void>> {
  const before = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  const isOurs = (line: string): boolean => (/^\s*(?:export\s+)?(\w+)\s*=/.exec(line)?.[1] ?? '') in env
  const others = (before ?? '').split('\n').filter((line) => !isOurs(line))
  while (others.at(-1) === '') others.pop()
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  await writeFile(path, [...others, ...lines, ''].join('\n'), { mode: 0o600 })
  return () => (before === undefined ? rm(path, { force: true }) : writeFile(path, before))
}
