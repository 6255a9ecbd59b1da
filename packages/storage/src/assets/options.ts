import type { Duration } from '@fastify-scale/kit'

export interface AssetsOptions {
  /**
   * In development: a directory that this process serves itself. Left out, as in production, URLs come from the manifest that
   * `fastify-scale-storage publish` wrote into the bucket.
   */
  dir?: string
  /** Path under which `dir` is served. Default `'/assets/'`. */
  urlPath?: string
  /** First part of the keys of published assets. Default `'assets'`. */
  prefix?: string
  /** Name of the release whose manifest is used, as given to `publish --release`. Default: what was published last. */
  release?: string
  /** How long to wait before a manifest that could not be loaded is asked for again. Default 1 s. */
  retryDelay?: Duration
}
