/** Codes of every error that this package throws. */
export type DevServicesErrorCode =
  /** A server can't be started on this machine; the message names the variable to set instead. */
  | 'SCALE_DEV_SERVICES_UNAVAILABLE'
  /** A server was started and did not come up; the message ends with its log. */
  | 'SCALE_DEV_SERVICES_START_FAILED'
  /** A given variable is wrong, or nothing useful answers there. */
  | 'SCALE_DEV_SERVICES_BAD_ENV'
  /** An option or a command-line argument is wrong. */
  | 'SCALE_DEV_SERVICES_BAD_OPTION'
  /** Fetching from Debian failed. */
  | 'SCALE_DEV_SERVICES_FETCH_FAILED'
  /** `waitFor` saw its condition stay false for the whole timeout. */
  | 'SCALE_DEV_SERVICES_TIMEOUT'
  /** A started server answered a request of ours with an error. */
  | 'SCALE_DEV_SERVICES_REQUEST_FAILED'

/** An error with a `code`; the message is one that a user can act on. */
export class DevServicesError extends Error {
  readonly code: DevServicesErrorCode

  constructor(code: DevServicesErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'DevServicesError'
    this.code = code
  }
}
