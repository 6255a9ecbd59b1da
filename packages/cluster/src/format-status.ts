import type { LauncherStatus, SlotStatus } from './status.ts'

/** The status as a table for a terminal. */
export function formatStatus(status: LauncherStatus, now: number = Date.now()): string {
  const { name, pid, state, slots, reloading, warnings, startedAt, admin } = status
  const head = `${name}  launcher ${pid}, ${state} for ${duration(now - startedAt)}${admin ? `, admin pages on ${admin}` : ''}`
  const rows = [
    [
      'slot',
      'pid',
      'gen',
      'state',
      'uptime',
      'restarts',
      'req/s',
      'p99',
      'aborted',
      'active',
      'idle',
      'delay',
      'cpu',
      'memory',
      'last exit',
    ],
    ...slots.map(rowOf),
  ]
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const table = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 3 || column === 14 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number),
      )
      .join('  ')
      .trimEnd(),
  )
  const extra = [
    ...(reloading
      ? [`reload: slot ${reloading.slot} ${reloading.phase}, ${reloading.done} of ${reloading.total} done`]
      : []),
    ...warnings.map((warning) => `! ${warning}`),
  ]
  return [head, '', ...table, ...(extra.length ? ['', ...extra] : [])].join('\n')
}

function rowOf(slot: SlotStatus): string[] {
  const { connections, memory, memoryLimit } = slot
  return [
    slot.role === 'web' ? String(slot.slot) : `${slot.role} ${slot.slot}`,
    show(slot.pid),
    show(slot.generation),
    slot.state,
    slot.uptime === undefined ? '-' : duration(slot.uptime),
    String(slot.restarts),
    show(slot.requestsPerSecond),
    slot.p99 === undefined ? '-' : `${round(slot.p99)} ms`,
    show(slot.aborted),
    show(connections?.active),
    show(connections?.idle),
    slot.loopDelay === undefined ? '-' : `${round(slot.loopDelay)} ms`,
    slot.cpu === undefined ? '-' : `${Math.round(slot.cpu * 100)}%`,
    memory === undefined
      ? '-'
      : megabytes(memory) + (memoryLimit ? ` (${Math.round((memory / memoryLimit) * 100)}%)` : ''),
    slot.lastExit ? slot.lastExit.reason.slice(0, 60) : '',
  ]
}

function show(value: number | undefined): string {
  return value === undefined ? '-' : String(value)
}

function round(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1)
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`
}

/** `42s`, `5m`, `3h`, `2d`. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}
