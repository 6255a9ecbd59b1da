import { ForeignUrlError } from './errors.ts'
import { isOwnKey } from './keys.ts'

export interface Urls {
  /** The public URL of a key: `publicBaseUrl` and the key, each segment percent-encoded. */
  url(key: string): string
  /** The URLs that a key has had: the one of now, then those of the former bases. */
  everUrls(key: string): string[]
  /**
   * The key of an object of ours, from its URL or its key.
   * @throws SCALE_STORAGE_FOREIGN_URL for anything that this storage did not make
   */
  keyOf(urlOrKey: string): string
}

/**
 * Builds and reads URLs.
 *
 * @param base the checked `publicBaseUrl`, without a slash at its end
 * @param former what it was before, in the same form; URLs are read but no longer made from them
 */
export function createUrls(base: string, former: readonly string[] = []): Urls {
  const bases = [...new Set([base, ...former])]
  // Where one base is within the other, the longer one is meant.
  const roots = bases.map((one) => new URL(`${one}/`)).sort((a, b) => b.href.length - a.href.length)
  const urlOf = (from: string, key: string): string => `${from}/${key.split('/').map(encodeURIComponent).join('/')}`
  return {
    url: (key) => urlOf(base, key),
    everUrls: (key) => bases.map((one) => urlOf(one, key)),
    keyOf(urlOrKey) {
      const key = /^[a-z][a-z0-9+.-]*:/i.test(urlOrKey) ? keyFromUrl(roots, urlOrKey) : urlOrKey
      if (!isOwnKey(key))
        throw new ForeignUrlError(`the URL or key is not one of this storage, whose URLs begin with ${base}/`)
      return key
    },
  }
}

function keyFromUrl(roots: readonly URL[], text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  if (url.username || url.password || url.search || url.hash) return undefined
  const root = roots.find(({ origin, pathname }) => url.origin === origin && url.pathname.startsWith(pathname))
  if (!root) return undefined
  try {
    return decodeURIComponent(url.pathname.slice(root.pathname.length))
  } catch {
    return undefined
  }
}
