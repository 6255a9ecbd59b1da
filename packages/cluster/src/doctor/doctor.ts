import { isDeepStrictEqual } from 'node:util'
import { changedAlone, compareWorkers } from './compare.ts'
import { type Finding, unique } from './findings.ts'
import type { ProbeAnswer, ProbeRequest, ProbeRoute } from './messages.ts'
import { moduleState } from './module-state.ts'
import type { Probe } from './probe-process.ts'

export interface Diagnosis {
  findings: Finding[]
  /** Requests that were sent, to each worker. */
  requests: number
  workers: number
}

const SAFE = new Set(['GET', 'HEAD'])
const MOST_CANDIDATES = 5

/**
 * Puts the same questions to several processes of one app and compares what they say.
 *
 * @param probes at least two
 * @param recorded requests to replay in order; those that change something go to one worker, as a balancer would send them
 */
export async function diagnose(probes: Probe[], recorded: ProbeRequest[], root: string): Promise<Diagnosis> {
  const routes = probes[0]?.routes ?? []
  const questions = questionsOf(routes, recorded)
  const findings: Finding[] = []
  const jar = new Map<string, string>()
  let requests = 0

  const ask = async (probe: Probe, request: ProbeRequest): Promise<ProbeAnswer> => {
    requests++
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    return probe.ask(cookie ? { ...request, headers: { cookie, ...request.headers } } : request)
  }
  const askAll = async (request: ProbeRequest): Promise<ProbeAnswer[]> => {
    const answers: ProbeAnswer[] = []
    for (const probe of probes) answers.push(comparable(await ask(probe, request)))
    return answers
  }
  const stateFinding = (kind: Finding['kind'], message: string, request: ProbeRequest): Finding => ({
    kind,
    message,
    at: routeOf(routes, request)?.at,
    candidates: moduleState(root).slice(0, MOST_CANDIDATES),
  })

  for (const question of questions) {
    const pairs: { first: ProbeAnswer; second: ProbeAnswer }[] = []
    for (const probe of probes)
      pairs.push({ first: comparable(await ask(probe, question)), second: comparable(await ask(probe, question)) })
    const result = compareWorkers(pairs)
    if (result === 'differs')
      findings.push(
        stateFinding('differs-by-worker', `GET ${question.url} is answered differently by each worker`, question),
      )
    if (result === 'counts')
      findings.push(stateFinding('state-in-process', `GET ${question.url} counts in each worker by itself`, question))
  }

  let turn = 0
  for (const request of recorded.filter(({ method = 'GET' }) => !SAFE.has(method))) {
    const before: ProbeAnswer[][] = []
    for (const question of questions) before.push(await askAll(question))
    const worker = turn++ % probes.length
    const answer = await ask(probes[worker] as Probe, request)
    for (const cookie of answer.cookies) {
      const [name = '', ...value] = cookie.split('=')
      jar.set(name, value.join('='))
    }
    for (const [index, question] of questions.entries()) {
      const after = await askAll(question)
      if (!changedAlone(before[index] ?? [], after, worker)) continue
      // The same question without cookies: state that anybody sees is not a session.
      const anonymous = comparable(await (probes[worker] as Probe).ask(question))
      const session = isDeepStrictEqual(anonymous, before[index]?.[worker]) && jar.size > 0
      const what = session ? 'knows the session' : 'shows the change'
      findings.push(
        stateFinding(
          session ? 'session-in-process' : 'state-in-process',
          `after ${request.method} ${request.url} only the worker that answered it ${what}: GET ${question.url}`,
          session ? request : question,
        ),
      )
    }
  }

  for (const probe of probes) findings.push(...probe.take())
  return { findings: unique(findings), requests, workers: probes.length }
}

/** Every GET that is recorded or needs no parameters. */
function questionsOf(routes: ProbeRoute[], recorded: ProbeRequest[]): ProbeRequest[] {
  const asked = new Map<string, ProbeRequest>()
  for (const { method, url } of routes) if (method === 'GET' && !/[:*]/.test(url)) asked.set(url, { url })
  for (const request of recorded) if ((request.method ?? 'GET') === 'GET') asked.set(request.url, request)
  return [...asked.values()]
}

/** Cookies are new at every login; whether there are any is what counts. */
function comparable(answer: ProbeAnswer): ProbeAnswer {
  return { ...answer, cookies: answer.cookies.map((cookie) => cookie.split('=')[0] as string) }
}

function routeOf(routes: ProbeRoute[], { method = 'GET', url }: ProbeRequest): ProbeRoute | undefined {
  const path = url.split('?')[0] as string
  return routes.find((route) => route.method === method && matches(route.url, path))
}

function matches(pattern: string, path: string): boolean {
  const source = pattern
    .split('/')
    .map((part) => (part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')))
    .join('/')
  return new RegExp(`^${source}$`).test(path)
}
