import type { HelmetOptions } from 'helmet'
import { bucketUrl } from './bucket.ts'
import type { Env } from './env.ts'

/** What the page may load and connect to: this origin and where pictures and static files are, nothing else. */
export function contentSecurityPolicy(
  config: Env,
): Exclude<HelmetOptions['contentSecurityPolicy'], boolean | undefined> {
  // Originals are in the bucket and uploads go there; thumbnails and static files come from the CDN, where there is one.
  const urls = [config.PUBLIC_BASE_URL, bucketUrl(config)].filter(Boolean) as string[]
  const media = [...new Set(urls.map((url) => new URL(url).origin))]
  return {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'", ...media],
      styleSrc: ["'self'", ...media],
      imgSrc: ["'self'", 'data:', 'blob:', ...media],
      // 'self' covers the websocket of this origin (CSP level 3); the rest is for direct uploads.
      connectSrc: ["'self'", ...media],
      formAction: ["'self'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
  }
}
