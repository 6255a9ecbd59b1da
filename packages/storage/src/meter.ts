import { createHash } from 'node:crypto'
import { TooLargeError } from './errors.ts'

export interface Meter {
  /** Bytes seen. */
  readonly bytes: number
  /** Counts and hashes; throws SCALE_STORAGE_TOO_LARGE as soon as the limit is passed. */
  add(chunk: Uint8Array): void
  /** The SHA-256 of everything seen so far, in hexadecimal. */
  sha256(): string
}

/** Counts and hashes what streams by, and stops it at `maxBytes`. */
export function createMeter(maxBytes: number): Meter {
  const hash = createHash('sha256')
  let bytes = 0
  return {
    get bytes() {
      return bytes
    },
    add(chunk) {
      bytes += chunk.length
      if (bytes > maxBytes) throw tooLarge(maxBytes)
      hash.update(chunk)
    },
    sha256: () => hash.copy().digest('hex'),
  }
}

export function tooLarge(maxBytes: number): Error {
  return new TooLargeError(`the file is larger than ${showBytes(maxBytes)}`)
}

/** 26214400 -> '25 MB', as a person would write it. */
export function showBytes(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024
    unit++
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`
}
