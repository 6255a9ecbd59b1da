/** All talk with the server, and what the page counts of it. */

export interface Answer {
  /** `host/pid` of the process that answered; empty where nothing did. */
  worker: string
  ok: boolean
}

type Listener = (answer: Answer) => void
const listeners = new Set<Listener>()

/** Calls back for every answer, and for every request that got none. */
export function onAnswer(listener: Listener): void {
  listeners.add(listener)
}

function count(worker: string, status: number): void {
  // What the server refuses for a good reason (4xx) is an answer; a server that breaks (5xx) or is not there is a failure.
  for (const listener of listeners) listener({ worker, ok: status > 0 && status < 500 })
}

export class ApiError extends Error {
  readonly status: number
  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

export interface Session {
  /** The access token, or a new one where the server refused it; null where nobody is logged in. */
  token(refused: boolean): Promise<string | null>
  /** Called when the server has ended the session. */
  ended(): void
}
let session: Session = { token: async () => null, ended: () => undefined }
export function useSession(now: Session): void {
  session = now
}

interface Request {
  method?: string
  json?: unknown
  anonymous?: boolean
}

/** Calls the API with JSON. Throws ApiError with the server's own words. */
export async function call<T>(path: string, init: Request = {}): Promise<T> {
  const bearer = init.anonymous ? null : await session.token(false)
  let response = await ask(path, init, bearer)
  if (response.status === 401 && bearer) {
    const fresh = await session.token(true)
    if (fresh) response = await ask(path, init, fresh)
    else session.ended()
  }
  const text = await response.text()
  const body = (text && response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : {}) as T & {
    message?: string
  }
  if (!response.ok) throw new ApiError(body.message ?? response.statusText, response.status)
  return body
}

async function ask(path: string, { method = 'GET', json }: Request, bearer: string | null): Promise<Response> {
  const headers: Record<string, string> = {}
  if (json !== undefined) headers['content-type'] = 'application/json'
  if (bearer) headers['authorization'] = `Bearer ${bearer}`
  const request = { method, headers, body: json === undefined ? null : JSON.stringify(json) }
  try {
    // A request inside a process that is killed hard can't be answered by anyone. Reading again, or setting the same
    // thing again, does no harm, so that is tried once more on another worker; what counts is what the user saw fail.
    const response = await fetch(`/api${path}`, request).catch((error: unknown) => {
      if (method !== 'GET' && method !== 'PUT') throw error
      return fetch(`/api${path}`, request)
    })
    count(response.headers.get('x-served-by') ?? '', response.status)
    return response
  } catch {
    count('', 0)
    throw new ApiError('The server can’t be reached.', 0)
  }
}

/** Sends a form with progress from 0 to 1: `fetch` can't tell how far an upload is. */
export async function send<T>(
  url: string,
  form: FormData,
  onProgress: (part: number) => void,
  own: boolean,
): Promise<T> {
  const bearer = own ? await session.token(false) : null
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', url)
    if (bearer) request.setRequestHeader('authorization', `Bearer ${bearer}`)
    request.upload.addEventListener('progress', (event) =>
      onProgress(event.lengthComputable ? event.loaded / event.total : 0),
    )
    request.addEventListener('error', () => {
      count('', 0)
      reject(new ApiError('The upload broke off.', 0))
    })
    request.addEventListener('load', () => {
      if (own) count(request.getResponseHeader('x-served-by') ?? '', request.status)
      if (request.status < 300) return resolve((own ? JSON.parse(request.responseText) : undefined) as T)
      let message = request.statusText
      try {
        message = (JSON.parse(request.responseText) as { message: string }).message
      } catch {
        // S3 answers in XML; its status text will do.
      }
      reject(new ApiError(message, request.status))
    })
    request.send(form)
  })
}
