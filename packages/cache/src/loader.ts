import { type Duration, parseDuration } from '@fastify-scale/kit'
import { LoaderTimeoutError, LoaderUndefinedError, failOption } from './errors.ts'

/** What a loader is given. */
export interface LoaderContext {
  /** Aborts when the loader has taken longer than `loaderTimeout`. */
  readonly signal: AbortSignal
  /** Sets how long this result is fresh; 0 answers it without caching. */
  setTtl: (ttl: Duration) => void
  /** Adds tags that only the result tells. */
  addTags: (tags: string | readonly string[]) => void
}

/** Gets the value that is not in the cache. `null` is a value; `undefined` is refused. */
export type Loader<T> = (context: LoaderContext) => T | Promise<T>

/** What came of a loader. */
export interface Loaded {
  value?: unknown
  /** Set where the loader failed. */
  error?: unknown
  failed: boolean
  /** As set by the loader, in ms. */
  ttl: number | undefined
  /** As added by the loader. */
  tags: string[]
}

/** Runs a loader within its bound. Never rejects: a failure is a result. */
export function runLoader(load: Loader<unknown>, timeout: number): Promise<Loaded> {
  return new Promise((resolve) => {
    const controller = new AbortController()
    let ttl: number | undefined
    const tags: string[] = []
    const settle = (part: { failed: boolean; value?: unknown; error?: unknown }): void => {
      clearTimeout(timer)
      resolve({ ...part, ttl, tags })
    }
    const timer = setTimeout(() => {
      const error = new LoaderTimeoutError(`the loader took longer than ${timeout} ms`)
      controller.abort(error)
      settle({ failed: true, error })
    }, timeout)
    const context: LoaderContext = {
      signal: controller.signal,
      setTtl(value) {
        ttl = parseDuration(value, { name: 'ttl', min: 0, fail: failOption })
      },
      addTags(more) {
        tags.push(...(typeof more === 'string' ? [more] : more))
      },
    }
    // Called inside the promise chain, so that a loader that throws at once is a failed one too.
    Promise.resolve(context)
      .then(load)
      .then(
        (value) =>
          value === undefined
            ? settle({
                failed: true,
                error: new LoaderUndefinedError('the loader resolved to undefined; return null where there is nothing'),
              })
            : settle({ failed: false, value }),
        (error: unknown) => settle({ failed: true, error }),
      )
  })
}

/** Lets at most `limit` run at once; the others wait their turn. */
export class Slots {
  private free: number
  private readonly waiting: (() => void)[] = []

  constructor(limit: number) {
    this.free = limit
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--
    else await new Promise<void>((resolve) => this.waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.waiting.shift()
      if (next) next()
      else this.free++
    }
  }
}
