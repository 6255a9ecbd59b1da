import { InvalidDataError, TooLargeError } from './errors.ts'

/** What BullMQ keeps as a job's data. The version lets releases side by side tell what they read. */
export interface Envelope {
  v: 1
  data: unknown
  /** The idempotency key that the job was added with. */
  key?: string
}

/**
 * Packs data for the queue.
 *
 * @throws SCALE_JOBS_INVALID_DATA where JSON can't carry it, SCALE_JOBS_TOO_LARGE
 */
export function pack(name: string, data: unknown, maxSize: number, key: string | undefined): Envelope {
  let json: string | undefined
  try {
    json = JSON.stringify(data)
  } catch (error) {
    throw new InvalidDataError(`the data of job '${name}' can't be written as JSON: ${(error as Error).message}`)
  }
  const size = Buffer.byteLength(json ?? '')
  if (size > maxSize)
    throw new TooLargeError(
      `the data of job '${name}' are ${size} bytes of JSON; option 'maxSize' allows ${maxSize}: store them elsewhere and pass a key`,
    )
  // As the handler will read it.
  return {
    v: 1,
    data: json === undefined ? null : (JSON.parse(json) as unknown),
    ...(key === undefined ? {} : { key }),
  }
}

/** @throws SCALE_JOBS_INVALID_DATA where somebody else put something else there */
export function unpack(name: string, value: unknown): Envelope {
  const envelope = value as Partial<Envelope> | null
  if (typeof envelope === 'object' && envelope?.v === 1 && 'data' in envelope) return envelope as Envelope
  throw new InvalidDataError(
    `job '${name}' was not added by @fastify-scale/jobs, or by a release that this one does not know`,
  )
}
