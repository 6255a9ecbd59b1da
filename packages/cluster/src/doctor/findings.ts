/** What makes an app stateful, by name. */
export type FindingKind =
  | 'differs-by-worker'
  | 'state-in-process'
  | 'session-in-process'
  | 'store-in-process'
  | 'file-written'
  | 'interval'
  | 'scheduler'
  | 'socketio-polling'
  | 'socketio-no-adapter'

export interface Finding {
  kind: FindingKind
  /** What was seen, in one line. */
  message: string
  /** `file:line`, relative to the app's folder; absent where it can't be told. */
  at?: string
  /** Other places that may be the cause: state of a module that the app changes. */
  candidates?: string[]
}

/** What cures each. */
export const CURES: Record<FindingKind, string> = {
  'differs-by-worker':
    'keep what the answer is made of in the database, or in @fastify-scale/cache (one value for all workers)',
  'state-in-process': 'keep it in the database, in @fastify-scale/cache, or as a setting in @fastify-scale/settings',
  'session-in-process':
    '@fastify-scale/auth (who a user is travels in a signed token), or give the session plugin a Redis store',
  'store-in-process': 'give the plugin its `redis` option, so that all workers count together',
  'file-written': '@fastify-scale/storage (the file goes to S3, only its URL stays)',
  interval: 'app.cluster.singleton() of @fastify-scale/cluster, or app.jobs.cron() of @fastify-scale/jobs',
  scheduler: 'app.jobs.cron() of @fastify-scale/jobs: once per tick in the whole cluster',
  'socketio-polling': '@fastify-scale/realtime, or transports: ["websocket"]: polling needs sticky sessions',
  'socketio-no-adapter': '@fastify-scale/realtime: broadcasts reach the clients of every worker',
}

/** The same thing found in several workers, or by several requests, is one finding. */
export function unique(findings: Finding[]): Finding[] {
  const seen = new Map<string, Finding>()
  for (const finding of findings) {
    const key = `${finding.kind} ${finding.at ?? finding.message}`
    if (!seen.has(key)) seen.set(key, finding)
  }
  return [...seen.values()]
}
