const ALPHABET = /^[A-Za-z0-9_-]+$/
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/**
 * Decodes base64url without padding (RFC 7515, 2), only in its canonical form: an encoder has one spelling for given
 * bytes, so that a token has no second one (a last character whose unused bits are not zero is refused).
 * Returns undefined for anything else.
 */
export function decodeBase64url(text: string): Buffer | undefined {
  if (!ALPHABET.test(text)) return undefined
  const rest = text.length % 4
  if (rest === 1) return undefined
  if (rest !== 0) {
    const unused = rest === 2 ? 0b1111 : 0b11
    if ((DIGITS.indexOf(text[text.length - 1] as string) & unused) !== 0) return undefined
  }
  return Buffer.from(text, 'base64url')
}
