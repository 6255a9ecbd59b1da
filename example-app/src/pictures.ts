/** What may be added to the board. */
export const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/avif']

/** Largest file, through the app and straight to S3. A thumbnail is made of nothing larger. */
export const MAX_BYTES: number = 25 * 1_024 ** 2

/** A picture of a few kilobytes may unpack to gigabytes. */
export const MAX_PIXELS = 100_000_000
