import { execFileSync } from 'node:child_process'

const pin = (pid: number, core: number): Buffer =>
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(core), String(pid)])

/** A core of its own for the server, as a machine of its own would be. Linux, as root. */
export function placeServer(pid: number): void {
  pin(pid, 0)
}

/** For what stands for other machines. `first`: before whom else is there; who measures must not wait for a flood. */
export function placeElsewhere(pid: number, { first = false } = {}): void {
  pin(pid, 1)
  // A nice value would not do: who wakes up still waits for the end of the other's slice.
  if (first) execFileSync('chrt', ['--all-tasks', '--rr', '--reset-on-fork', '--pid', '1', String(pid)])
}
