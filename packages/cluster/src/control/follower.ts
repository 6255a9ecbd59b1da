import type { Client } from './server.ts'

/** What may wait in the launcher for one who follows and does not read, in bytes. */
const MOST_WAITING = 4 * 1_048_576

/**
 * Passes lines on to a client. Where it reads too slowly, or not at all, lines are left out until it has read what waits,
 * and then it is told how many in a line of its own.
 */
export function createFollower(client: Client, launcher: string): (line: string) => void {
  let missed = 0
  client.onRead(() => {
    if (missed === 0) return
    const msg = `${missed} lines were left out here: they came faster than they were read`
    missed = 0
    client.tell(`${JSON.stringify({ level: 40, time: Date.now(), launcher, msg })}\n`)
  })
  return (line) => {
    if (missed > 0 || client.waiting() > MOST_WAITING) missed += 1
    else client.tell(line)
  }
}
