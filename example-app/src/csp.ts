import type { HelmetOptions } from 'helmet'
import type { Env } from './env.ts'

/** What the page may load and connect to: this origin and where pictures and static files are, nothing else. */
export function contentSecurityPolicy({ PUBLIC_BASE_URL, S3_ENDPOINT }: Env): HelmetOptions['contentSecurityPolicy'] {
  const media = [PUBLIC_BASE_URL, S3_ENDPOINT].filter((url) => url !== undefined).map((url) => new URL(url).origin)
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
