import sharp from 'sharp'
import { MAX_BYTES, MAX_PIXELS } from './pictures.ts'

const WIDTH = 640

/** A thumbnail of what S3 answers with, or why there can be none: trying again would find the same bytes. */
export async function makeThumbnail(response: Response): Promise<{ thumbnail: Buffer } | { unreadable: string }> {
  const length = Number(response.headers.get('content-length'))
  if (length > MAX_BYTES) {
    await response.body?.cancel()
    return { unreadable: `${length} bytes are more than the ${MAX_BYTES} that a photo may have` }
  }
  const original = await response.arrayBuffer()
  try {
    const picture = sharp(original, { limitInputPixels: MAX_PIXELS }).rotate()
    return { thumbnail: await picture.resize({ width: WIDTH, withoutEnlargement: true }).webp().toBuffer() }
  } catch (error) {
    const { message } = error as Error
    // Not the picture's fault.
    if (/memory|allocat/i.test(message)) throw error
    return { unreadable: message.split('\n')[0] as string }
  }
}
