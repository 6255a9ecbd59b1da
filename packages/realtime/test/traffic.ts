import { pause } from '@fastify-scale/kit'
import { type Balancer, type FixtureSetup, type ServerProcess, startBalancer, startProcess } from './processes.ts'
import { type TestClient, collect, connect } from './support.ts'

/** A client in some rooms with history, and in plain ones. */
export interface Witness {
  client: TestClient
  /** What came to each room with history. */
  history: Record<string, number[]>
  plain: number[]
  /** By room. */
  resyncs: Record<string, number>
}

/** What came to the plain room `plain`, and to each room with history, whose events are named after it. */
export async function startWitnesses(url: string, count: number, rooms: readonly string[]): Promise<Witness[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const client = await connect(url, { socket: { reconnectionDelayMax: 1_000 } })
      const witness: Witness = {
        client,
        history: Object.fromEntries(rooms.map((room) => [room, collect<number>(client, room)])),
        plain: collect<number>(client, 'plain'),
        resyncs: Object.fromEntries(rooms.map((room) => [room, 0])),
      }
      client.onResync((room) => (witness.resyncs[room] = (witness.resyncs[room] ?? 0) + 1))
      await Promise.all([...rooms, 'plain'].map((room) => client.join(room)))
      return witness
    }),
  )
}

export interface Pair {
  balancer: Balancer
  /** Replaces both. `'start'`: as a reload does, all replacements are up before the first is ended. */
  replace(end: (old: ServerProcess) => Promise<unknown>, first: 'start' | 'end'): Promise<void>
}

/** Two processes behind a balancer, and ways to replace both of them, one after the other. */
export async function startPair(setup: FixtureSetup): Promise<Pair> {
  const start = () => startProcess(setup)
  const balancer = await startBalancer()
  const pair = await Promise.all([start(), start()])
  const route = (): void => balancer.set(pair.map(({ port }) => port))
  route()
  return {
    balancer,
    async replace(end, first) {
      if (first === 'start') {
        const old = [...pair]
        const next = await Promise.all([start(), start()])
        pair.splice(0, 2, ...next)
        route()
        for (const one of old) await end(one)
      } else {
        for (const i of [0, 1]) {
          await end(pair[i] as ServerProcess)
          balancer.set([(pair[1 - i] as ServerProcess).port])
          pair[i] = await start()
          route()
        }
      }
    },
  }
}

/** Every process is replaced by a reload, by exit and by SIGKILL. */
export const replacements = ({ replace }: Pair): (() => Promise<void>)[] => [
  () => replace((old) => (old.tell({ type: 'drain' }), old.exited), 'start'),
  () => replace((old) => (old.tell({ type: 'exit' }), old.exited), 'end'),
  () => replace((old) => old.kill('SIGKILL'), 'end'),
]

/**
 * Publishes 1, 2, 3… at a steady rate, each by itself, as requests would, until `least` are sent and all `trouble`, spread
 * over that time, is over. Returns how many, when all are confirmed.
 */
export async function publishDuring(
  { least, rate }: { least: number; rate: number },
  publishOne: (n: number) => Promise<unknown>,
  trouble: readonly (() => Promise<unknown>)[],
): Promise<number> {
  const all: Promise<unknown>[] = []
  const begun = performance.now()
  let over = false
  const troubles = (async () => {
    for (const one of trouble) {
      await pause((least / rate / (trouble.length + 1)) * 1_000)
      await one()
    }
    over = true
  })()
  let n = 0
  while (n < least || !over) {
    all.push(publishOne(++n))
    const ahead = (n / rate) * 1_000 - (performance.now() - begun)
    if (ahead > 0) await pause(ahead)
  }
  await troubles
  await Promise.all(all)
  return n
}

export const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

/** What is wrong with what came, where `expected` rises: the first few of each kind, and how many. */
export function faultsOf(came: readonly number[], expected: readonly number[]): Record<string, unknown> {
  const seen = new Set(came)
  const wanted = new Set(expected)
  const few = (numbers: number[]) => (numbers.length === 0 ? 0 : { count: numbers.length, first: numbers.slice(0, 5) })
  return {
    lost: few(expected.filter((n) => !seen.has(n))),
    // A repetition is never above what came before it, either.
    repeatedOrReordered: few(notRising(came)),
    foreign: few(came.filter((n) => !wanted.has(n))),
  }
}
export const NO_FAULTS = { lost: 0, repeatedOrReordered: 0, foreign: 0 }

/** Numbers that are not above every one before them. */
export function notRising(numbers: readonly number[]): number[] {
  let highest = Number.NEGATIVE_INFINITY
  return numbers.filter((n) => {
    if (n <= highest) return true
    highest = n
    return false
  })
}
