import { breakerChannel } from './channels.ts'

export interface BreakerOptions {
  /** The master it is about, for messages; empty where there is one server. */
  name?: string
  /** Consecutive failures after which it opens. Default 3. */
  threshold?: number
  /** How often an open breaker looks whether Redis is back, in ms. Default 200. */
  probeEvery?: number
  /** One cheap command; resolves when Redis is well. */
  probe: () => Promise<unknown>
}

/**
 * A circuit breaker: after a few failures in a row nothing waits for Redis any more, until one probe (half-open) has
 * been answered.
 */
export class Breaker {
  /** True while Redis counts as away. */
  open = false
  /** The failure that opened it. */
  reason: string | undefined
  /** When it opened, by `performance.now()`. */
  private openedAt = 0
  private readonly name: string
  private failures = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private closed = false
  private readonly threshold: number
  private readonly probeEvery: number
  private readonly probe: () => Promise<unknown>

  constructor(options: BreakerOptions) {
    this.name = options.name ?? ''
    this.threshold = options.threshold ?? 3
    this.probeEvery = options.probeEvery ?? 200
    this.probe = options.probe
  }

  succeeded(): void {
    this.failures = 0
  }

  failed(reason: string): void {
    if (++this.failures < this.threshold || this.open || this.closed) return
    this.open = true
    this.openedAt = performance.now()
    this.reason = reason
    breakerChannel.publish(() => ({ open: true, reason, master: this.name }))
    this.schedule()
  }

  /** Whether it has been open for so many ms. */
  isOpenFor(ms: number): boolean {
    return this.open && performance.now() - this.openedAt >= ms
  }

  /** Ends the probing. */
  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  private schedule(): void {
    this.timer = setTimeout(() => void this.look(), this.probeEvery)
    this.timer.unref()
  }

  private async look(): Promise<void> {
    try {
      await this.probe()
    } catch {
      if (!this.closed) this.schedule()
      return
    }
    if (this.closed) return
    this.open = false
    this.failures = 0
    this.reason = undefined
    breakerChannel.publish(() => ({ open: false, master: this.name }))
  }
}
