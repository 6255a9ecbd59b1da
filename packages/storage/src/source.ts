import type { BodyReader } from './reader.ts'

/** One file as it comes in. */
export interface IncomingFile {
  type: 'file'
  reader: BodyReader
  /** The Content-Type that the client gave; a hint at most. */
  declaredType?: string
  /** Bytes, where they are known before. */
  length?: number
  /** True where something upstream cut the file off; known at its end. */
  isTruncated?: () => boolean
}

export interface IncomingField {
  type: 'field'
  name: string
  value: string
}

/** What a request brings, part by part; `null` at its end. A file must be read to its end before the next part. */
export interface UploadSource {
  next(): Promise<IncomingFile | IncomingField | null>
}

/** The source of a body that is one file. */
export function singleFile(file: Omit<IncomingFile, 'type'>): UploadSource {
  let given = false
  return {
    next: async () => {
      if (given) return null
      given = true
      return { type: 'file', ...file }
    },
  }
}
