import type { Socket } from 'node:net'

/** `request`: from the client to the target. `response`: back. */
export type Direction = 'request' | 'response'

/** What all lanes of a proxy obey. */
export interface Faults {
  frozen: boolean
  /** ms that each chunk is held back. */
  latency: number
  /** Bytes per second in each direction of each connection; 0 is no limit. */
  rate: number
}

/** What becomes of a chunk: other bytes in its place, this connection hanging from here on, or being cut. */
export type Verdict = Buffer | 'hang' | 'cut' | undefined | void

type Event = { at: number } & ({ chunk: Buffer } | { end: true } | { reset: true })

const HIGH_WATER = 256 * 1024
/** A limited lane writes in slices of this many ms. */
const SLICE = 20

/** One direction of one connection. What comes in is queued in order, with its due time, the ends of the stream too. */
export class Lane {
  readonly #source: Socket
  readonly #sink: Socket
  readonly #faults: Faults
  readonly #judge: (chunk: Buffer) => Verdict
  readonly #cut: () => void
  #queue: Event[] = []
  #queued = 0
  #timer: NodeJS.Timeout | undefined
  #draining = false
  #hung = false

  constructor(source: Socket, sink: Socket, faults: Faults, judge: (chunk: Buffer) => Verdict, cut: () => void) {
    this.#source = source
    this.#sink = sink
    this.#faults = faults
    this.#judge = judge
    this.#cut = cut
    source.on('data', (chunk: Buffer) => {
      this.#queued += chunk.length
      if (this.#queued > HIGH_WATER) source.pause()
      this.#push({ at: this.#due(), chunk })
    })
    source.on('end', () => this.#push({ at: this.#due(), end: true }))
    source.on('error', () => this.#push({ at: this.#due(), reset: true }))
    sink.on('drain', () => {
      this.#draining = false
      this.pump()
    })
  }

  hang(): void {
    this.#hung = true
    this.#source.pause()
  }

  freeze(): void {
    this.#source.pause()
  }

  thaw(): void {
    if (this.#hung) return
    if (this.#queued <= HIGH_WATER) this.#source.resume()
    this.pump()
  }

  /** Forwards everything that is due. */
  pump(): void {
    while (!this.#timer && !this.#draining && !this.#hung && !this.#faults.frozen) {
      const event = this.#queue[0]
      if (!event) return
      const wait = event.at - performance.now()
      if (wait > 0) return this.#later(wait)
      if ('reset' in event) return this.#cut()
      if ('end' in event) {
        this.#queue.shift()
        this.#sink.end()
        continue
      }
      this.#forward(event)
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#queue = []
    this.#hung = true
  }

  #forward(event: { at: number; chunk: Buffer }): void {
    const { rate } = this.#faults
    const size = rate > 0 ? Math.max(1, Math.floor((rate * SLICE) / 1000)) : event.chunk.length
    const part = event.chunk.subarray(0, size)
    if (part.length === event.chunk.length) this.#queue.shift()
    else event.chunk = event.chunk.subarray(size)
    this.#queued -= part.length
    if (this.#queued <= HIGH_WATER) this.#source.resume()
    const verdict = this.#judge(part)
    if (verdict === 'cut') return this.#cut()
    if (verdict === 'hang') return this.hang()
    if (!this.#sink.write(verdict ?? part)) this.#draining = true
    if (rate > 0) this.#later((part.length / rate) * 1000)
  }

  #push(event: Event): void {
    this.#queue.push(event)
    this.pump()
  }

  #due(): number {
    return performance.now() + this.#faults.latency
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.pump()
    }, ms)
    this.#timer.unref()
  }
}
