import { ForeignUrlError } from './errors.ts'
import { isOwnKey } from './keys.ts'

export interface Urls {
  /** The public URL of a key: `publicBaseUrl` and the key, each segment percent-encoded. */
  url(key: string): string
  /**
   * The key of an object of ours, from its URL or its key.
   * @throws SCALE_STORAGE_FOREIGN_URL for anything that this storage did not make
   */
  keyOf(urlOrKey: string): string
}

/** Builds and reads URLs; `base` is the checked `publicBaseUrl`, without a slash at its end. */
export function createUrls(base: string): Urls {
  const root = new URL(`${base}/`)
  return {
    url: (key) => `${base}/${key.split('/').map(encodeURIComponent).join('/')}`,
    keyOf(urlOrKey) {
      const key = /^[a-z][a-z0-9+.-]*:/i.test(urlOrKey) ? keyFromUrl(root, urlOrKey) : urlOrKey
      if (key === undefined || !isOwnKey(key))
        throw new ForeignUrlError(`the URL or key is not one of this storage, whose URLs begin with ${base}/`)
      return key
    },
  }
}

function keyFromUrl(root: URL, text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const same =
    url.origin === root.origin &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '' &&
    url.pathname.startsWith(root.pathname)
  if (!same) return undefined
  try {
    return decodeURIComponent(url.pathname.slice(root.pathname.length))
  } catch {
    return undefined
  }
}
