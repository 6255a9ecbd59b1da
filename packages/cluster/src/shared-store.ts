import type { SharedEnvelope } from './shared-relay.ts'

/** A load that failed, as it is told to other machines. */
export interface SharedFailure {
  name: string
  message: string
  at: number
  fencing: number
  /** The requests that it would have served. */
  requests: string[]
}

/** Where values go beyond this launcher; see redis-backend.ts. */
export interface SharedStore {
  /** Saves a value unless one with a higher fencing number is there; false then. */
  put(envelope: SharedEnvelope): Promise<boolean>
  /** Asks whichever machine loads the value to load it now. */
  requestLoad(name: string, request: string): Promise<void>
  /** Tells the machines that wait that there will be no value. */
  tellFailure(failure: SharedFailure): Promise<void>
}

export function isFailure(data: unknown): data is SharedFailure {
  const { name, message, at, fencing, requests } = (data ?? {}) as Partial<SharedFailure>
  return (
    typeof name === 'string' &&
    typeof message === 'string' &&
    typeof at === 'number' &&
    typeof fencing === 'number' &&
    Array.isArray(requests)
  )
}
