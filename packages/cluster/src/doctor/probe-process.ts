import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { pause } from '@fastify-scale/kit'
import { AppError } from '../errors.ts'
import type { Finding } from './findings.ts'
import type { FromProbe, ProbeAnswer, ProbeRequest, ProbeRoute, ToProbe } from './messages.ts'
import { nameOf } from './questions.ts'

/** How long an answer may take, in ms. */
export const ANSWER_WITHIN = 5_000

/** A running probe. */
export interface Probe {
  pid: number
  routes: ProbeRoute[]
  /**
   * `undefined` where there was no whole answer within 5 s, as of a route that streams; the request is ended then.
   * @throws SCALE_CLUSTER_APP where the process has ended: nothing can be said of an app that is not there
   */
  ask(request: ProbeRequest): Promise<ProbeAnswer | undefined>
  /** The app's own modules that are loaded by now; none where it does not say. */
  modules(): Promise<string[]>
  /** What it has reported since the last time. */
  take(): Finding[]
  stop(): Promise<void>
}

const ENDED = Symbol('ended')
/** ms that what an ended process printed last may take to arrive. */
const LAST_WORDS = 500

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
  const waiting = new Map<number, (answer: unknown) => void>()
  let findings: Finding[] = []
  let lastId = 0
  let errors = ''
  child.stderr?.on('data', (data: Buffer) => (errors = (errors + data.toString()).slice(-2_000)))
  const send = (message: ToProbe): void => void child.send(message, () => undefined)
  /** Sends with a number that the answer carries; settles with `otherwise` where none comes in time. */
  function call<T>(message: (id: number) => ToProbe, otherwise: T): Promise<T | typeof ENDED> {
    return new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(ENDED)
      const id = ++lastId
      const timer = setTimeout(() => {
        send({ do: 'end', id })
        settle(id, otherwise)
      }, ANSWER_WITHIN)
      waiting.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer as T | typeof ENDED)
      })
      send(message(id))
    })
  }
  function settle(id: number, answer: unknown): void {
    waiting.get(id)?.(answer)
    waiting.delete(id)
  }
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const because = (): string =>
    `${child.signalCode === null ? `code ${child.exitCode}` : child.signalCode}${errors ? `: ${reasonOf(errors)}` : ''}`

  async function ask(request: ProbeRequest): Promise<ProbeAnswer | undefined> {
    const answer = await call<ProbeAnswer | undefined>((id) => ({ do: 'request', id, request }), undefined)
    if (answer !== ENDED) return answer
    await Promise.race([closed, pause(LAST_WORDS)])
    throw new AppError(`the app ended before it answered ${nameOf(request)}, with ${because()}`)
  }

  async function modules(): Promise<string[]> {
    const files = await call<string[]>((id) => ({ do: 'modules', id }), [])
    return files === ENDED ? [] : files
  }

  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      reject(new AppError(reason))
    }
    const timer = setTimeout(() => fail(`the app was not ready within ${timeout} ms`), timeout)
    child.once('exit', () => {
      fail(`the app ended while it started, with ${because()}`)
      for (const id of waiting.keys()) settle(id, ENDED)
    })
    child.on('message', (message: FromProbe) => {
      if (message.tell === 'failed') fail(message.reason)
      else if (message.tell === 'findings') findings.push(...message.findings)
      else if (message.tell === 'answer') settle(message.id, message.answer)
      else if (message.tell === 'modules') settle(message.id, message.files)
      else {
        clearTimeout(timer)
        resolve({
          pid: child.pid as number,
          routes: message.routes,
          ask,
          modules,
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
