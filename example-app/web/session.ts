/** Who is logged in. The access token lives in this page's memory, the refresh token in a cookie that no script can read. */
import { ApiError, call } from './api.ts'

interface Tokens {
  accessToken: string
  expiresIn: number
}
export interface User {
  id: string
  name: string
  roles: string[]
}

/** Set while there may be a session to come back to: without it a first visit does not ask, and is not refused. */
const MARK = 'photo-board:session'
const EARLY_MS = 30_000

let current: { token: string; until: number } | undefined
let refreshing: Promise<string | null> | undefined

function keep({ accessToken, expiresIn }: Tokens): string {
  current = { token: accessToken, until: Date.now() + expiresIn * 1_000 }
  localStorage.setItem(MARK, '1')
  return accessToken
}

async function refresh(): Promise<string | null> {
  if (!localStorage.getItem(MARK)) return null
  try {
    return keep(await call<Tokens>('/session/refresh', { method: 'POST', json: {}, anonymous: true }))
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    forget()
    return null
  }
}

/** The access token, refreshed in time; null where nobody is logged in. `fresh` asks for a new one in any case. */
export async function getToken(fresh = false): Promise<string | null> {
  if (!fresh && current && current.until - Date.now() > EARLY_MS) return current.token
  refreshing ??= refresh().finally(() => (refreshing = undefined))
  return refreshing
}

export async function enter(how: 'login' | 'signup', name: string, password: string): Promise<User> {
  keep(await call<Tokens>(`/${how}`, { method: 'POST', json: { name, password }, anonymous: true }))
  return call<User>('/me')
}

/** The user of a session that is there already, for instance after the page was loaded again. */
export async function resume(): Promise<User | undefined> {
  return (await getToken()) ? call<User>('/me') : undefined
}

export async function leave(everywhere: boolean): Promise<void> {
  await call(everywhere ? '/logout-everywhere' : '/logout', { method: 'POST' })
  forget()
}

export function forget(): void {
  current = undefined
  localStorage.removeItem(MARK)
}
