import { type Channel, createChannel } from '@fastify-scale/kit'

/** A socket was let in. */
export const connectChannel: Channel<{ id: string; namespace: string; user?: string }> = createChannel(
  'realtime',
  'connect',
)

/** A socket is gone. */
export const disconnectChannel: Channel<{ id: string; namespace: string; reason: string }> = createChannel(
  'realtime',
  'disconnect',
)

/** A handshake was refused, with the code that the client was told. */
export const refuseChannel: Channel<{ code: string; address: string }> = createChannel('realtime', 'refuse')

/** A client went over a limit: `events` (it is read more slowly), `flood` or `slow` (its connection was cut). */
export const limitChannel: Channel<{ limit: 'events' | 'flood' | 'slow'; id: string; address: string }> = createChannel(
  'realtime',
  'limit',
)

/** A message was stored in a history room (`seq`), or handed to the adapter (`seq` null). `ms` is the time it took. */
export const publishChannel: Channel<{ room: string; event: string; seq: number | null; ms: number }> = createChannel(
  'realtime',
  'publish',
)

/** A message for the other processes was not sent, or it is unknown whether it was. `total` counts since the start. */
export const dropChannel: Channel<{ reason: 'overflow' | 'failed'; total: number }> = createChannel('realtime', 'drop')

/** The connection to the other processes is back after `ms`: broadcasts to plain rooms may be missing. */
export const gapChannel: Channel<{ ms: number }> = createChannel('realtime', 'gap')

/** Messages that this process missed in a history room were read from the history. */
export const fillChannel: Channel<{ room: string; messages: number }> = createChannel('realtime', 'fill')

/** A history room's messages were lost (`trimmed`: older than the history; `epoch`: Redis lost data); clients were told. */
export const resyncChannel: Channel<{ room: string; reason: 'trimmed' | 'epoch'; sockets: number }> = createChannel(
  'realtime',
  'resync',
)

/** Sockets were drained: how many closed by themselves, and how many were cut. */
export const drainChannel: Channel<{ closed: number; cut: number; ms: number }> = createChannel('realtime', 'drain')
