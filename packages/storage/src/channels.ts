import { type Channel, createChannel } from '@fastify-scale/kit'

/** An upload was stored and persisted. */
export interface UploadStored {
  key: string
  /** Bytes. */
  size: number
  contentType: string
  /** From taking the slot to the end of `persist`, in ms. */
  ms: number
}

/** An upload failed, and what it left is being removed. */
export interface UploadFailed {
  /** `SCALE_STORAGE_…`, or the code of what `persist` threw. */
  code: string
  ms: number
}

/** An upload was refused because all slots were taken. */
export interface UploadRefused {
  active: number
}

/** Something that was left in S3 could not be removed in time; the bucket's lifecycle rule or a sweep will. */
export interface LeftBehind {
  key: string
  reason: string
}

export const uploadStored: Channel<UploadStored> = createChannel('storage', 'upload-stored')
export const uploadFailed: Channel<UploadFailed> = createChannel('storage', 'upload-failed')
export const uploadRefused: Channel<UploadRefused> = createChannel('storage', 'upload-refused')
export const leftBehind: Channel<LeftBehind> = createChannel('storage', 'left-behind')
