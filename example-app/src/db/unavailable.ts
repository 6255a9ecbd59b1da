// pg gives these no code: no connection was free or could be made in time, it broke, or the answer did not come.
const MESSAGES =
  /^(timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered a connection error)/
const SYSTEM_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH'])
// SQLSTATE: connection exceptions, too many connections, shutting down or starting up, statement timeout.
const SQL_STATES = /^(08...|53300|57014|57P0[1-3])$/

/** Whether the database was not reached or did not answer in time: whether a write was done is then not known. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, message } = error as Error & { code?: unknown }
  if (typeof code === 'string' && (SYSTEM_CODES.has(code) || SQL_STATES.test(code))) return true
  return MESSAGES.test(message)
}
