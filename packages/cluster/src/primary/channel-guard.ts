import type { ChildProcess } from 'node:child_process'

interface Channel {
  onread?: (...args: unknown[]) => void
}

/**
 * Bytes that are not JSON make Node throw inside the primary, from the channel's own reader: one broken worker would
 * take all of them down. Here they are an event. Where Node's channel looks different, things stay as they are.
 */
export function guardChannel(child: ChildProcess, onCorrupt: (reason: string) => void): void {
  const symbol = Object.getOwnPropertySymbols(child).find(({ description }) => description === 'kChannelHandle')
  const channel = symbol && (child as unknown as Record<symbol, Channel | undefined>)[symbol]
  const { onread } = channel ?? {}
  if (!channel || typeof onread !== 'function') return
  let corrupt = false
  channel.onread = function guarded(...args) {
    // What follows may be out of step; only the end of the channel (no data) still counts.
    if (corrupt && args[0] !== undefined) return
    try {
      onread.apply(this, args)
    } catch (error) {
      corrupt = true
      onCorrupt(error instanceof Error ? error.message : String(error))
    }
  }
}
