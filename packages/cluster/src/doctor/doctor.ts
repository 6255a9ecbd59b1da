import { setTimeout as sleep } from 'node:timers/promises'
import { changedAlone, changesEachTime, compareWorkers, isSame, placesThatChange, withoutPids } from './compare.ts'
import { type Finding, unique } from './findings.ts'
import type { ProbeAnswer, ProbeRequest } from './messages.ts'
import { moduleState } from './module-state.ts'
import type { Probe } from './probe-process.ts'
import { comparable, nameOf, questionsOf, routeOf } from './questions.ts'

export interface Diagnosis {
  findings: Finding[]
  /** Requests without a whole answer in time, as of routes that stream: `GET /events`. */
  notCompared: string[]
  /** Requests that every worker answered with an error, so that what is behind was not seen: `GET /me: 401`. */
  refused: string[]
  /** Requests that were sent, to each worker. */
  requests: number
  workers: number
}

const SAFE = new Set(['GET', 'HEAD'])
const MOST_CANDIDATES = 5
/** What goes by the clock, be it in whole seconds, has changed after so many ms. */
const LATER = 1_100

/**
 * Puts the same questions to several processes of one app and compares what they say.
 *
 * @param probes at least two
 * @param recorded requests to replay in order; those that change something go to one worker, as a balancer would send them
 */
export async function diagnose(probes: Probe[], recorded: ProbeRequest[], root: string): Promise<Diagnosis> {
  const routes = probes[0]?.routes ?? []
  const seen: Finding[] = []
  const jar = new Map<string, string>()
  const unanswered = new Set<ProbeRequest>()
  /** Each question with its answers, by worker, before anything was changed. */
  const asked = new Map<ProbeRequest, ProbeAnswer[][]>()
  let requests = 0

  const ask = async (probe: Probe, request: ProbeRequest, known = true): Promise<ProbeAnswer | undefined> => {
    requests++
    const cookie = known ? [...jar].map(([name, value]) => `${name}=${value}`).join('; ') : ''
    const answer = await probe.ask(cookie ? { ...request, headers: { cookie, ...request.headers } } : request)
    if (!answer) unanswered.add(request)
    return answer
  }
  const pids = probes.map(({ pid }) => pid)
  /**
   * Each worker's answers, so many times one after another; a question that is not answered is given up.
   *
   * @param known whether cookies that were set are sent
   */
  const askAll = async (question: ProbeRequest, times: number, known = true): Promise<ProbeAnswer[][]> => {
    const all: ProbeAnswer[][] = []
    for (const probe of probes) {
      const answers: ProbeAnswer[] = []
      for (let time = 0; time < times && !unanswered.has(question); time++) {
        const answer = await ask(probe, question, known)
        if (answer) answers.push(comparable(answer))
      }
      all.push(answers)
    }
    if (unanswered.has(question)) {
      asked.delete(question)
      return all
    }
    const rounds = Array.from({ length: times }, (_, time) =>
      withoutPids(
        all.map((answers) => answers[time] as ProbeAnswer),
        pids,
      ),
    )
    return probes.map((_, worker) => rounds.map((round) => round[worker] as ProbeAnswer))
  }
  const report = (kind: Finding['kind'], message: string, request: ProbeRequest): void =>
    void seen.push({ kind, message, at: routeOf(routes, request)?.at })

  for (const question of questionsOf(routes, recorded)) {
    const answers = await askAll(question, 2)
    if (!unanswered.has(question)) asked.set(question, answers)
  }
  await sleep(LATER)
  for (const [question, answers] of asked)
    for (const [worker, later] of (await askAll(question, 1)).entries()) answers[worker]?.push(...later)
  for (const [question, answers] of asked) {
    const result = compareWorkers(answers)
    if (result === 'differs')
      report('differs-by-worker', `${nameOf(question)} is answered differently by each worker`, question)
    // Once more: the second may have ended between the first two in every worker.
    if (result === 'counts' && (await askAll(question, 2)).every(changesEachTime))
      report('state-in-process', `${nameOf(question)} counts in each worker by itself`, question)
  }

  let turn = 0
  for (const request of recorded.filter(({ method = 'GET' }) => !SAFE.has(method))) {
    const before = new Map<ProbeRequest, ProbeAnswer[]>()
    for (const question of [...asked.keys()]) before.set(question, (await askAll(question, 1)).flat())
    const worker = turn++ % probes.length
    const answer = await ask(probes[worker] as Probe, request)
    for (const cookie of answer?.cookies ?? []) {
      const [name = '', ...value] = cookie.split('=')
      jar.set(name, value.join('='))
    }
    for (const [question, answers] of [...asked]) {
      const changing = placesThatChange(answers)
      const [was = [], is] = [before.get(question), (await askAll(question, 1)).flat()]
      if (unanswered.has(question) || !changedAlone(was, is, worker, changing)) continue
      // The same question without cookies: state that anybody sees is not a session.
      const anonymous = jar.size > 0 ? (await askAll(question, 1, false))[worker]?.[0] : undefined
      const session = anonymous !== undefined && isSame(anonymous, was[worker], changing)
      const what = session ? 'knows the session' : 'shows the change'
      report(
        session ? 'session-in-process' : 'state-in-process',
        `after ${nameOf(request)} only the worker that answered it ${what}: ${nameOf(question)}`,
        session ? request : question,
      )
    }
  }

  const findings = [...(await withCandidates(seen, probes, root)), ...probes.flatMap((probe) => probe.take())]
  return {
    findings: unique(findings),
    notCompared: [...unanswered].map(nameOf),
    refused: [...asked].flatMap(([question, answers]) => refusalOf(question, answers.flat())),
    requests,
    workers: probes.length,
  }
}

/** What was answered with errors only, be it after a login: its route was not seen at work. */
function refusalOf(question: ProbeRequest, answers: ProbeAnswer[]): string[] {
  const [first] = answers
  return first && answers.every(({ status }) => status >= 400) ? [`${nameOf(question)}: ${first.status}`] : []
}

/** Adds where the state that was seen may be kept: in modules that some worker has loaded. */
async function withCandidates(seen: Finding[], probes: Probe[], root: string): Promise<Finding[]> {
  if (seen.length === 0) return []
  const files = new Set((await Promise.all(probes.map((probe) => probe.modules()))).flat())
  const candidates = moduleState(root, [...files].sort()).slice(0, MOST_CANDIDATES)
  return seen.map((finding) => ({ ...finding, candidates }))
}
