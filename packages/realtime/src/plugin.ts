import { createServer } from 'node:http'
import {
  type Authenticator,
  addDrainStep,
  addReadinessCheck,
  closeBudget,
  findCapability,
  openConnections,
  refuseTaken,
} from '@fastify-scale/kit'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Server } from 'socket.io'
import { createRedisAdapter } from './adapter.ts'
import { createOriginReader } from './address.ts'
import { type Emitter, createApi } from './api.ts'
import { type Verify, createVerify } from './authentication.ts'
import { gapChannel } from './channels.ts'
import { fail } from './check.ts'
import { drainConnections } from './drain.ts'
import { UnavailableError, WebsocketOnlyError } from './errors.ts'
import { setUpRooms } from './history-setup.ts'
import type { Known } from './history-store.ts'
import { type Connection, createHandshakeLimit, guardConnection } from './limits.ts'
import { serveNamespaces } from './namespaces.ts'
import { type RealtimeOptions, resolveOptions } from './options.ts'
import type { RoomRule } from './room-options.ts'
import { type JoinReply, GAP, RECONNECT } from './protocol.ts'
import type { Realtime } from './realtime.ts'
import { type RawSocket, Sessions } from './sessions.ts'
import { takeUpgrades } from './transport.ts'
import { Turns } from './turns.ts'
import type { RealtimeServer } from './types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The Socket.IO server, of @fastify-scale/realtime. */
    io: RealtimeServer
    /** Of @fastify-scale/realtime. */
    realtime: Realtime
  }
}

const PACKAGE = '@fastify-scale/realtime'

const plugin: FastifyPluginAsync<RealtimeOptions> = async (fastify, userOptions) => {
  const options = resolveOptions(userOptions)
  for (const [key, name] of Object.entries(options.decorators)) refuseTaken(fastify, name, `decorators.${key}`, fail)
  const path = `${fastify.prefix.replace(/\/$/, '')}${options.path}`
  const connections =
    options.adapter === 'none' && options.rooms.length === 0
      ? undefined
      : await openConnections({
          packageName: PACKAGE,
          redis: options.redis,
          host: fastify as { redis?: unknown },
          log: fastify.log,
          fail,
        })

  // Registered first, so that it runs last; and should anything below throw, nothing stays open.
  fastify.addHook('onClose', async function scaleRealtimeDisconnect() {
    await connections?.close()
  })

  const gapListeners = new Set<(ms: number) => void>()
  const adapter =
    options.adapter === 'none' || !connections
      ? undefined
      : createRedisAdapter({
          kind: options.adapter,
          // What was in flight when the connection broke is not sent again: twice is worse than perhaps not.
          publisher: connections.patient({ name: 'publisher', overrides: { autoResendUnfulfilledCommands: false } }),
          follower: connections.follower({
            name: 'subscriber',
            overrides: { autoResubscribe: false },
            clusterOverrides: { shardedSubscribers: options.adapter === 'redis-sharded' },
          }),
          channel: connections.keyPrefix + options.channel,
          pendingPublishes: options.limits.pendingPublishes,
          onGap(ms) {
            gapChannel.publish(() => ({ ms: Math.round(ms) }))
            ;(io.local as unknown as Emitter).emit(GAP, { ms: Math.round(ms) })
            for (const listener of gapListeners) listener(ms)
          },
        })

  const io: RealtimeServer = new Server({
    ...options.io,
    transports: ['websocket'],
    allowUpgrades: false,
    serveClient: false,
    path,
    maxHttpBufferSize: options.limits.maxPayload,
    perMessageDeflate: false,
    pingInterval: options.pingInterval,
    pingTimeout: options.pingTimeout,
    connectTimeout: options.connectTimeout,
    ...(adapter ? { adapter: adapter.adapter } : {}),
  })
  // Engine.IO attaches itself to this server, which never listens: it gets its connections from us.
  io.attach(createServer())
  const engine = io.engine as unknown as {
    clients: Record<string, Connection>
    clientsCount: number
    handleUpgrade(request: object, socket: object, head: Buffer): void
    on(event: 'connection', listener: (connection: Connection) => void): void
  }
  const turns = new Turns()
  const allowHandshake = createHandshakeLimit(options.limits.handshakes)
  engine.on('connection', (connection) =>
    guardConnection(connection, {
      limits: options.limits,
      text: options.io.parser === undefined,
      charge: (address, handshakes) => void allowHandshake(address, handshakes),
      turns,
    }),
  )

  const ruleOf = (room: string): RoomRule | undefined => options.rooms.find((rule) => rule.matches(room))
  const configured =
    connections && options.rooms.length > 0
      ? await setUpRooms(io, options, connections, ruleOf, fastify.log)
      : undefined

  async function join(
    socket: RawSocket,
    room: string,
    position: Known | undefined,
    isWanted?: () => boolean,
  ): Promise<JoinReply> {
    const rule = ruleOf(room)
    if (configured && rule && rule.history > 0) return configured.rooms.join(socket, room, rule, position, isWanted)
    await socket.join(room)
    return { ok: true }
  }

  let verify: Verify | undefined
  const sessions = new Sessions({
    verify: (credentials) => (verify as Verify)(credentials),
    tokenWarning: options.tokenWarning,
  })
  /** One socket of each connection, to tell its client something. */
  const hints = new WeakMap<object, RawSocket>()
  serveNamespaces({
    io,
    options,
    sessions,
    log: fastify.log,
    join: (socket, { room, epoch, seq }, isWanted) =>
      join(socket, room, epoch === undefined || seq === undefined ? undefined : { epoch, seq }, isWanted),
    onSocket: (socket, connection) => hints.set(connection, socket),
  })

  let draining: Promise<void> | undefined
  const transport = takeUpgrades({
    server: fastify.server,
    path,
    originOf: createOriginReader(fastify),
    admit(_request, { address }) {
      if (draining || !verify)
        return {
          status: 503,
          code: 'DRAINING',
          message: 'This process takes no new connections: try again',
          headers: { 'Retry-After': '1' },
        }
      if (!allowHandshake(address))
        return {
          status: 429,
          code: 'TOO_MANY_HANDSHAKES',
          message: 'Too many connections from this address',
          headers: { 'Retry-After': '1' },
        }
      return undefined
    },
    accept: (request, socket, head) => engine.handleUpgrade(request, socket, head),
    turns,
    log: fastify.log,
  })

  // Long polling is not served, and its clients can read an HTTP answer: `err.context.responseText`.
  fastify.route({
    method: ['GET', 'POST'],
    url: `${options.path}/`,
    handler: async function scaleRealtimePolling(_request, reply) {
      void reply.header('Upgrade', 'websocket')
      throw new WebsocketOnlyError()
    },
  })

  const drain = (budget: number): Promise<void> =>
    (draining ??= drainConnections(
      {
        connections: () => Object.values(engine.clients),
        hint(connection, delay) {
          // That one may have ended, and others not.
          const [socket] = hints.get(connection)?.client.sockets.values() ?? []
          socket?.emit(RECONNECT, { delay })
        },
        sockets: transport.sockets,
        ...options.drain,
      },
      budget,
    ))

  const realtime = createApi({
    io,
    adapter,
    configured,
    sessions,
    traceparent: options.traceparent,
    ruleOf,
    join,
    gapListeners,
    drain: (budget = closeBudget(fastify)) => drain(budget),
    state: () => ({ connections: engine.clientsCount, draining: draining !== undefined }),
  })

  let stopRevocation: (() => void) | undefined
  fastify.addHook('onReady', async function scaleRealtimeReady() {
    const authenticator: Authenticator | undefined = findCapability(fastify, 'authenticator')
    verify = createVerify({ ...options, authenticator, maxAuth: options.limits.maxAuth })
    stopRevocation = authenticator?.onRevoked((isRevoked) => sessions.revoke(isRevoked))
  })
  addReadinessCheck(fastify, {
    name: 'realtime: redis',
    check() {
      if ((adapter && !adapter.standing) || (configured && !configured.standing))
        throw new UnavailableError('not connected to Redis')
    },
  })
  addDrainStep(fastify, { name: 'realtime: sockets', run: ({ budget }) => drain(budget) })
  fastify.addHook('onClose', async function scaleRealtimeClose() {
    stopRevocation?.()
    transport.close()
    await io.close()
    for (const socket of transport.sockets) socket.destroy()
    adapter?.close()
    await configured?.close()
  })

  fastify.decorate(options.decorators.io as 'io', io)
  fastify.decorate(options.decorators.realtime as 'realtime', realtime)
}

/** Socket.IO on every process, for Fastify. See `RealtimeOptions`. */
export const scaleRealtime: FastifyPluginAsync<RealtimeOptions> = fp(plugin, { name: PACKAGE, fastify: '5.x' })
export default scaleRealtime
