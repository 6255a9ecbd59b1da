/** How much of a turn of the event loop work that came in a burst may take, in ms; one piece is done in any case. */
const BUDGET_MS = 1

/**
 * Spreads a burst of work over turns of the event loop, in order: whatever else has come in meanwhile is served between
 * them. Without it the poll phase does all that has arrived, from everybody, before anything else is done.
 */
export class Turns {
  readonly #waiting: (() => void)[] = []
  #scheduled = false
  /** When the work of this turn must be over. */
  #until = 0

  /** Runs the task now where this turn has time left and nothing waits, else in its order in one of the next. */
  run(task: () => void): void {
    if (!this.#scheduled) this.#begin()
    else if (this.#waiting.length > 0 || performance.now() >= this.#until) return void this.#waiting.push(task)
    task()
  }

  /** Runs the task in one of the next turns. */
  later(task: () => void): void {
    this.#waiting.push(task)
    if (!this.#scheduled) this.#begin()
  }

  #begin(): void {
    this.#scheduled = true
    this.#until = performance.now() + BUDGET_MS
    setImmediate(this.#next)
  }

  readonly #next = (): void => {
    this.#scheduled = false
    if (this.#waiting.length === 0) return
    this.#begin()
    // What is added from here on belongs to the turn after.
    this.#work(this.#waiting.length)
  }

  #work(left: number): void {
    this.#waiting.shift()?.()
    if (left === 1) return
    // A piece may go on in promises: it is over, and its time known, when their queue is empty.
    queueMicrotask(() => process.nextTick(() => performance.now() < this.#until && this.#work(left - 1)))
  }
}
