import type { Yielding } from './priority.ts'

/** What the primary tells a worker before it starts, in the environment. */
export interface WorkerSpec {
  /** The module to run: a real path, resolved anew for each worker. */
  app: string
  id: number
  slot: number
  generation: number
  role: string
  /** How much the process yields, from before the app is loaded; absent from a launcher older than the worker. */
  nice?: Yielding
  count: number
  /** The launcher's name. */
  name: string
  /** ms that loading the app and its readiness checks may take. */
  startTimeout: number
  /** ms of silence that are a hang to the launcher, 0 where none is; absent from a launcher older than the worker. */
  hangTimeout?: number
  logLevel: string
  /** Log a line when a request comes in and when it is answered. */
  requestLog: boolean
  /** Answer 503 while the event loop can't keep up. */
  shed: boolean
  /** Count requests by route. */
  metrics: boolean
  /** The launcher has workers with the role `jobs`: those with the role `web` leave the jobs to them. */
  jobsApart: boolean
}

const VARIABLE = 'FASTIFY_SCALE_WORKER'

/**
 * The environment of a worker. `FASTIFY_SCALE_ROLE` is for the app to read: `web` and `jobs` where they are apart, else
 * `all`, since somebody must do the jobs.
 */
export function specToEnv(spec: WorkerSpec): Record<string, string> {
  return { [VARIABLE]: JSON.stringify(spec), FASTIFY_SCALE_ROLE: spec.jobsApart ? spec.role : 'all' }
}

/** Reads the spec and removes it from the environment, so that children of the app do not take themselves for workers. */
export function takeSpec(env: NodeJS.ProcessEnv): WorkerSpec | undefined {
  const text = env[VARIABLE]
  delete env[VARIABLE]
  return text === undefined ? undefined : (JSON.parse(text) as WorkerSpec)
}
