/** One request that a visitor would have seen fail. */
export interface Failure {
  what: string
  /** `performance.now()` at its start. */
  from: number
  why: string
}

/** Requests one after the other in several lanes, over kept connections, until it is stopped. */
export interface Load {
  answered(): number
  failures: Failure[]
  stop(): Promise<void>
}

/** `lanes`: by name, what one request of it is; a 5xx is a failure, and so is no answer. */
export function startLoad(lanes: Record<string, () => Promise<Response>>, each = 3): Load {
  let stopping = false
  let answered = 0
  const failures: Failure[] = []
  async function lane(what: string, ask: () => Promise<Response>): Promise<void> {
    while (!stopping) {
      const from = performance.now()
      try {
        const response = await ask()
        await response.arrayBuffer()
        answered++
        if (response.status >= 500) failures.push({ what, from, why: String(response.status) })
      } catch (error) {
        failures.push({ what, from, why: `${(error as Error).message}: ${String((error as Error).cause ?? '')}` })
      }
    }
  }
  const running = Object.entries(lanes).flatMap(([what, ask]) => Array.from({ length: each }, () => lane(what, ask)))
  return {
    answered: () => answered,
    failures,
    async stop() {
      stopping = true
      await Promise.all(running)
    },
  }
}
