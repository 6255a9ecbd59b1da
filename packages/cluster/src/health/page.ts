/** One page of the admin server, as text. */
export interface Page {
  status: number
  type: string
  body: string
}

export function jsonPage(status: number, body: object): Page {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(body)}\n` }
}

/** Prometheus text format 0.0.4. */
export function metricsPage(body: string): Page {
  return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body }
}

export function isPage(data: unknown): data is Page {
  const { status, type, body } = (data ?? {}) as Partial<Page>
  return typeof status === 'number' && typeof type === 'string' && typeof body === 'string'
}
