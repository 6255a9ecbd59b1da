import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { type Duration, checkKnown, parseDuration, parseInteger, show } from '@fastify-scale/kit'
import { StorageOptionError } from './errors.ts'
import { PENDING, isOwnKey, isPrefix } from './keys.ts'
import type { UploadDeps } from './upload.ts'

/** An object in the bucket. */
export interface SweptObject {
  url: string
  key: string
  /** Bytes. */
  size: number
  lastModified: Date
}

export interface SweepOptions {
  /**
   * Says whether a row of the application points to the object; only `false` means no. Asked once for each URL that the object
   * has had, see `formerBaseUrls`. One of this and `findReferenced`.
   */
  isReferenced?: (object: SweptObject) => boolean | Promise<boolean>
  /**
   * Given up to 1,000 URLs, returns those of them that rows of the application point to: one query instead of a thousand. Whatever
   * else it returns ends the sweep with `SCALE_STORAGE_OPTION`.
   */
  findReferenced?: (urls: string[]) => Iterable<string> | Promise<Iterable<string>>
  /** Objects younger than this are left alone: they may be uploads in flight. Default 24 h, at least 1 min. */
  olderThan?: Duration
  /** Only tell what would be deleted. Default true. */
  dryRun?: boolean
  /** Look only below this prefix. Default: everything that has a key of ours, except `pending/`, which the lifecycle rule empties. */
  prefix?: string
  /** Stop after so many deletions: a query that finds nothing by mistake must not empty the bucket. Default 1,000. */
  maxDeletes?: number
}

export interface SweepResult {
  /** Objects of ours that were old enough to be looked up. */
  checked: number
  /** Those that nothing points to, up to `maxDeletes`. */
  orphans: SweptObject[]
  /** How many were deleted; 0 in a dry run. */
  deleted: number
  /** True where `maxDeletes` ended the sweep early. */
  stopped: boolean
}

const KEYS = ['isReferenced', 'findReferenced', 'olderThan', 'dryRun', 'prefix', 'maxDeletes']
const LOOKUPS_AT_ONCE = 8
const URLS_AT_ONCE = 1_000

const fail = (message: string): Error => new StorageOptionError(message)

/**
 * Finds objects which no row of the application points to: what a process that was killed between upload and `persist` left.
 * Objects with keys that are not of the form that uploads make are never touched.
 */
export async function sweep(
  deps: Pick<UploadDeps, 's3' | 'call' | 'bucket' | 'urls' | 'now'>,
  options: SweepOptions,
): Promise<SweepResult> {
  checkKnown(options, KEYS, 'sweep()', fail)
  const { isReferenced, findReferenced, dryRun = true, prefix = '' } = options
  if ((isReferenced === undefined) === (findReferenced === undefined))
    throw fail('sweep() needs exactly one of isReferenced and findReferenced')
  for (const [name, ask] of Object.entries({ isReferenced, findReferenced }))
    if (ask !== undefined && typeof ask !== 'function') throw fail(`option '${name}' of sweep() must be a function`)
  if (typeof dryRun !== 'boolean')
    throw fail(`option 'dryRun' of sweep() must be true or false, but is ${show(dryRun)}`)
  if (typeof prefix !== 'string' || !isPrefix(prefix.replace(/^private\//, '')))
    throw fail("option 'prefix' of sweep() must be a prefix of uploads, like 'avatars'")
  const olderThan = parseDuration(options.olderThan ?? 24 * 3_600_000, { name: 'olderThan', min: 60_000, fail })
  const maxDeletes = parseInteger(options.maxDeletes ?? 1_000, { name: 'maxDeletes', fail })
  const before = deps.now() - olderThan

  const result: SweepResult = { checked: 0, orphans: [], deleted: 0, stopped: false }
  let token: string | undefined
  do {
    const page = await deps.call((o) =>
      deps.s3.send(
        new ListObjectsV2Command({
          Bucket: deps.bucket,
          Prefix: prefix === '' ? undefined : `${prefix}/`,
          ContinuationToken: token,
        }),
        o,
      ),
    )
    token = page.IsTruncated ? page.NextContinuationToken : undefined
    const candidates = (page.Contents ?? []).flatMap(({ Key = '', Size = 0, LastModified }): SweptObject[] =>
      isOwnKey(Key) && !Key.startsWith(PENDING) && LastModified !== undefined && LastModified.getTime() < before
        ? [{ url: deps.urls.url(Key), key: Key, size: Size, lastModified: LastModified }]
        : [],
    )
    result.checked += candidates.length
    for (const orphan of await orphansOf(candidates)) {
      if (result.orphans.length === maxDeletes) {
        result.stopped = true
        return result
      }
      result.orphans.push(orphan)
      if (dryRun) continue
      await deps.call((o) => deps.s3.send(new DeleteObjectCommand({ Bucket: deps.bucket, Key: orphan.key }), o))
      result.deleted++
    }
  } while (token !== undefined)
  return result

  async function orphansOf(objects: SweptObject[]): Promise<SweptObject[]> {
    if (findReferenced) {
      const urls = objects.flatMap(({ key }) => deps.urls.everUrls(key))
      const found = new Set<string>()
      for (let start = 0; start < urls.length; start += URLS_AT_ONCE) {
        const asked = urls.slice(start, start + URLS_AT_ONCE)
        for (const url of readFound(await findReferenced([...asked]), asked)) found.add(url)
      }
      return objects.filter(({ key }) => !deps.urls.everUrls(key).some((url) => found.has(url)))
    }
    const keep = new Set<SweptObject>()
    const queue = objects.values()
    await Promise.all(
      Array.from({ length: LOOKUPS_AT_ONCE }, async () => {
        for (const object of queue)
          for (const url of deps.urls.everUrls(object.key))
            if ((await isReferenced?.({ ...object, url })) !== false) {
              keep.add(object)
              break
            }
      }),
    )
    return objects.filter((object) => !keep.has(object))
  }
}

/** What `findReferenced` returned, if it is an answer: from rows, or from no list, everything would look lost. */
function readFound(found: unknown, asked: readonly string[]): Iterable<string> {
  const known = new Set<unknown>(asked)
  const list = isIterable(found) ? [...found] : undefined
  if (list?.every((url) => known.has(url))) return list as string[]
  throw fail('findReferenced must return a list of those URLs, as they were given to it, that rows point to')
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}
