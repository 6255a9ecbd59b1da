import { promisify } from 'node:util'
import { encodedChannel } from './channels.ts'
import { type Levels, type Encoding, codecOf } from './encodings.ts'

/** A variant that saves less than this is not worth the room it takes. */
const SAVES = 0.1

/** Makes the encoded forms of one body that are at least 10% smaller than it, in the order of `encodings`. */
export async function encodeVariants(
  body: Buffer,
  encodings: readonly Encoding[],
  levels: Readonly<Levels>,
): Promise<Record<string, Buffer>> {
  const made = await Promise.all(
    encodings.map((encoding) => promisify(codecOf(encoding).async)(body, levels[encoding])),
  )
  const variants: Record<string, Buffer> = {}
  for (const [index, encoding] of encodings.entries()) {
    const variant = made[index] as Buffer
    encodedChannel.publish(() => ({ encoding, bytesIn: body.length, bytesOut: variant.length, purpose: 'variant' }))
    if (variant.length <= body.length * (1 - SAVES)) variants[encoding] = variant
  }
  return variants
}
