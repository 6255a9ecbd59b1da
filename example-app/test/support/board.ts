import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Services, spawnGuarded, startServices } from '@fastify-scale/dev-services'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
export const launcherCommand = here('../../node_modules/@fastify-scale/cluster/dist/cli.js')
const storageCommand = here('../../node_modules/@fastify-scale/storage/dist/cli.js')
export const appModule = here('../../dist/app.js')

/** The photo board under the launcher, with real services, as a test uses it. */
export interface Board {
  url: string
  launcher: ChildProcess
  /** What the launcher printed so far. */
  output(): string
  stop(): Promise<number | null>
}

export function startBoardServices(): Promise<Services> {
  return startServices({ env: {} })
}

/** The environment of the application. */
export function boardEnv(services: Services): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...services.env,
    ADMIN_NAMES: 'admin',
    SIGNUP_LIMIT: '1000',
    JWT_SECRET: randomBytes(48).toString('base64'),
  }
}

/** Lets browsers read public objects, and upload from a page of this origin: what start.mjs does with its own bucket. */
export async function openBucket(env: NodeJS.ProcessEnv, origin: string): Promise<void> {
  for (const args of [['public-read'], ['cors', origin]])
    await promisify(execFile)(process.execPath, [storageCommand, ...args], { env })
}

/** Starts the launcher on a free port; resolves when it prints the address. */
export async function startBoard(env: NodeJS.ProcessEnv, args: string[] = []): Promise<Board> {
  // Guarded: a test that fails before it stops its board leaves no launcher behind.
  const launcher = spawnGuarded(
    process.execPath,
    [
      launcherCommand,
      'start',
      appModule,
      '--port',
      '0',
      '--workers',
      '2',
      '--name',
      `board-${randomBytes(4).toString('hex')}`,
      ...args,
    ],
    {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let text = ''
  const url = await new Promise<string>((resolve, reject) => {
    const onData = (data: Buffer): void => {
      text += data.toString()
      const match = /https?:\/\/[\w.[\]:]+:\d+/.exec(text.replaceAll(/127\.0\.0\.1:\d+\/(livez|readyz|metrics)/g, ''))
      if (match) resolve(match[0])
    }
    launcher.stdout?.on('data', onData)
    launcher.stderr?.on('data', onData)
    launcher.once('exit', (code) => reject(new Error(`the launcher exited with ${code}:\n${text}`)))
  })
  return {
    url,
    launcher,
    output: () => text,
    async stop() {
      if (launcher.exitCode !== null) return launcher.exitCode
      const gone = once(launcher, 'exit')
      launcher.kill('SIGTERM')
      const [code] = (await gone) as [number | null]
      return code
    },
  }
}
