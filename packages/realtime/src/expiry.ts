/** Longest delay that a timer of Node.js takes, in ms. */
const LONGEST = 2 ** 31 - 1

export interface ExpiryOptions {
  /** How long before the end to warn, in ms. */
  warning: number
  onWarning: (exp: number) => void
  onExpired: () => void
  /** Wall clock in ms since 1970. */
  now?: () => number
}

/** Ends a socket when its token does: warns once before, and begins anew with each fresh token. */
export class Expiry {
  readonly #options: ExpiryOptions
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined

  constructor(options: ExpiryOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** @param exp seconds since 1970; undefined: it does not end */
  set(exp: number | undefined): void {
    this.clear()
    if (exp === undefined) return
    const end = exp * 1_000
    const life = end - this.#now()
    // A token that lives shorter than the warning asks for a new one at half of what is left.
    const warnAt = end - Math.min(this.#options.warning, life / 2)
    this.#wait(warnAt, () => {
      this.#options.onWarning(exp)
      this.#wait(end, () => this.#options.onExpired())
    })
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait(until: number, then: () => void): void {
    const left = until - this.#now()
    this.#timer = setTimeout(
      () => {
        if (this.#now() >= until) then()
        else this.#wait(until, then)
      },
      Math.max(0, Math.min(left, LONGEST)),
    )
    this.#timer.unref()
  }
}
