import { type ChildProcess, fork } from 'node:child_process'
import { type Socket, connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { AddressInfo } from 'node:net'
import { onEnd } from './support.ts'

export interface FixtureSetup {
  redis?: string
  cluster?: { host: string; port: number }[]
  options?: object
  /** Arguments of node. */
  execArgv?: string[]
}

export interface ServerProcess {
  child: ChildProcess
  port: number
  url: string
  tell(message: object): void
  /** Resolves with exit code or signal. */
  exited: Promise<number | string>
  /** Everything written to stderr. */
  errors(): string
  kill(signal?: NodeJS.Signals): Promise<number | string>
}

/** A service in a process of its own; it needs the built package. Ended after the test. */
export async function startProcess(setup: FixtureSetup): Promise<ServerProcess> {
  const { execArgv = [], ...fixture } = setup
  let errors = ''
  const child = fork(fileURLToPath(new URL('fixtures/server.mjs', import.meta.url)), {
    env: { ...process.env, FIXTURE: JSON.stringify(fixture), NODE_OPTIONS: '' },
    execArgv,
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  child.stderr?.on('data', (chunk) => (errors += chunk))
  const exited = new Promise<number | string>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 0)),
  )
  const kill = (signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string> => {
    child.kill(signal)
    return exited
  }
  onEnd(() => {
    child.kill('SIGCONT')
    return kill()
  })
  const port = await new Promise<number>((resolve, reject) => {
    child.on('message', (message: { type: string; port: number }) => {
      if (message.type === 'listening') resolve(message.port)
    })
    void exited.then((code) => reject(new Error(`the process ended with ${code}: ${errors}`)))
  })
  return {
    child,
    port,
    url: `http://127.0.0.1:${port}`,
    tell: (message) => void child.send(message),
    exited,
    errors: () => errors,
    kill,
  }
}

export interface Balancer {
  url: string
  /** Where new connections go, in turn. */
  set(ports: number[]): void
}

/** A TCP balancer in front of several processes, ended after the test. */
export async function startBalancer(): Promise<Balancer> {
  let ports: number[] = []
  let turn = 0
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(ports[turn++ % ports.length] ?? 1, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onEnd(() => {
    for (const socket of open) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set(next) {
      ports = next
    },
  }
}
