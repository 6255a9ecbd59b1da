import type { ProbeAnswer, ProbeRequest, ProbeRoute } from './messages.ts'

/**
 * Every GET that is recorded, and every other that needs no parameters. Recorded ones may differ in their headers alone,
 * as those of two users do.
 */
export function questionsOf(routes: ProbeRoute[], recorded: ProbeRequest[]): ProbeRequest[] {
  const gets = recorded.filter(({ method = 'GET' }) => method === 'GET')
  const urls = new Set(gets.map(({ url }) => url))
  const asked = new Map<string, ProbeRequest>()
  for (const { method, url } of routes)
    if (method === 'GET' && !/[:*]/.test(url) && !urls.has(url)) asked.set(url, { url })
  for (const request of gets) asked.set(JSON.stringify(request), request)
  return [...asked.values()]
}

/** Cookies are new at every login; whether there are any is what counts. */
export function comparable(answer: ProbeAnswer): ProbeAnswer {
  return { ...answer, cookies: answer.cookies.map((cookie) => cookie.split('=')[0] as string) }
}

export function routeOf(routes: ProbeRoute[], { method = 'GET', url }: ProbeRequest): ProbeRoute | undefined {
  const path = url.split('?')[0] as string
  return routes.find((route) => route.method === method && matches(route.url, path))
}

function matches(pattern: string, path: string): boolean {
  const source = pattern
    .split('/')
    .map((part) => (part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')))
    .join('/')
  return new RegExp(`^${source}$`).test(path)
}

/** As it is named in a report. */
export function nameOf({ method = 'GET', url }: ProbeRequest): string {
  return `${method} ${url}`
}
