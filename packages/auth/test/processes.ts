import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { killTree, spawnGuarded } from '@fastify-scale/dev-services'
import type { ScaleAuthOptions, Tokens } from '../src/index.ts'
import { ISSUER } from './service.ts'

/** A service in a process of its own. */
export interface ServiceProcess {
  readonly pid: number
  readonly url: string
  login(claims: object): Promise<Tokens>
  /** Status and body of any request. */
  ask(
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: unknown; headers: Headers }>
  /** The code that each token is refused with; null for good ones. */
  check(tokens: string[]): Promise<(string | null)[]>
  stop(): Promise<void>
}

export async function startService(
  options: Partial<ScaleAuthOptions>,
  env: Record<string, string> = {},
): Promise<ServiceProcess> {
  const child: ChildProcess = spawnGuarded(
    process.execPath,
    [fileURLToPath(new URL('fixtures/service.mjs', import.meta.url))],
    {
      env: { ...process.env, ...env, OPTIONS: JSON.stringify({ issuer: ISSUER, ...options }) },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const pid = child.pid as number
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [port] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the service ended with ${String(code)}`)
    }),
  ])) as [string]
  const url = `http://127.0.0.1:${port}`

  const ask: ServiceProcess['ask'] = async (path, body, headers = {}) => {
    const response = await fetch(`${url}${path}`, {
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      body: text ? (JSON.parse(text) as unknown) : undefined,
      headers: response.headers,
    }
  }
  return {
    pid,
    url,
    ask,
    async login(claims) {
      const { status, body } = await ask('/login', claims)
      if (status !== 200) throw new Error(`login answered ${status}: ${JSON.stringify(body)}`)
      return body as Tokens
    },
    async check(tokens) {
      return (await ask('/check', { tokens })).body as (string | null)[]
    },
    async stop() {
      await killTree(pid)
    },
  }
}
