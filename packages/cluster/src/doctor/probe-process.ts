import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { AppError } from '../errors.ts'
import type { Finding } from './findings.ts'
import type { FromProbe, ProbeAnswer, ProbeRequest, ProbeRoute, ToProbe } from './messages.ts'

/** A running probe. */
export interface Probe {
  routes: ProbeRoute[]
  ask(request: ProbeRequest): Promise<ProbeAnswer>
  /** What it has reported since the last time. */
  take(): Finding[]
  stop(): Promise<void>
}

/** Starts the app in a process of its own. @throws SCALE_CLUSTER_APP where it does not become ready within `timeout` ms */
export function startProbe(options: {
  app: string
  root: string
  cwd: string
  timeout: number
  env: NodeJS.ProcessEnv
}): Promise<Probe> {
  const { app, root, cwd, timeout, env } = options
  // What the app prints is not the doctor's report.
  const child = fork(fileURLToPath(new URL('probe.js', import.meta.url)), [app, root], {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const waiting = new Map<number, (answer: ProbeAnswer) => void>()
  let findings: Finding[] = []
  let lastId = 0
  let errors = ''
  child.stderr?.on('data', (data: Buffer) => (errors = (errors + data.toString()).slice(-2_000)))
  const send = (message: ToProbe): void => void child.send(message, () => undefined)
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))

  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      reject(new AppError(reason))
    }
    const timer = setTimeout(() => fail(`the app was not ready within ${timeout} ms`), timeout)
    child.once('exit', (code) => {
      fail(`the app ended with code ${code} while it started${errors ? `: ${reasonOf(errors)}` : ''}`)
      for (const settle of waiting.values()) settle({ status: 0, type: '', body: 'the process ended', cookies: [] })
      waiting.clear()
    })
    child.on('message', (message: FromProbe) => {
      if (message.tell === 'failed') fail(message.reason)
      else if (message.tell === 'findings') findings.push(...message.findings)
      else if (message.tell === 'answer') {
        waiting.get(message.id)?.(message.answer)
        waiting.delete(message.id)
      } else {
        clearTimeout(timer)
        resolve({
          routes: message.routes,
          ask: (request) =>
            new Promise((settle) => {
              if (child.exitCode !== null)
                return settle({ status: 0, type: '', body: 'the process ended', cookies: [] })
              const id = ++lastId
              waiting.set(id, settle)
              send({ do: 'request', id, request })
            }),
          take() {
            const taken = findings
            findings = []
            return taken
          },
          async stop() {
            send({ do: 'stop' })
            await endSoon(child, gone)
          },
        })
      }
    })
  })
}

async function endSoon(child: ChildProcess, gone: Promise<void>): Promise<void> {
  const timer = setTimeout(() => child.kill('SIGKILL'), 2_000)
  await gone
  clearTimeout(timer)
}

/** The line of what Node prints on a crash that says why. */
function reasonOf(text: string): string {
  const lines = text.trim().split('\n')
  return (lines.find((line) => /^\w*Error\b.*:/.test(line)) ?? lines.at(-1) ?? '').trim()
}
