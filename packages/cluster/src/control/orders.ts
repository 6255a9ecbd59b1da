import type { Primary, ReloadProgress } from '../primary/types.ts'
import type { Services } from '../services.ts'
import { ControlError } from '../errors.ts'
import { createFollower } from './follower.ts'
import type { LineFeed } from './line-feed.ts'
import type { Handler } from './server.ts'

/** What a running launcher can be told on its control socket. */
export function createOrders(
  primary: Primary,
  services: Services,
  lines: LineFeed,
  stop: () => Promise<void>,
): Record<string, Handler> {
  return {
    ping: () => primary.pid,
    status: () => services.status(),
    async reload(_, { tell }) {
      const onProgress = (progress?: ReloadProgress): void => tell(progress ?? null)
      primary.events.on('progress', onProgress)
      try {
        return await primary.reload()
      } finally {
        primary.events.off('progress', onProgress)
      }
    },
    scale(to) {
      if (typeof to !== 'string' && typeof to !== 'number') throw new ControlError('scale needs a number, +N or -N')
      return primary.scale(to)
    },
    restart(slot) {
      if (typeof slot !== 'number') throw new ControlError('restart needs the number of a slot')
      return primary.restart(slot)
    },
    async stop() {
      await primary.stop()
      // After the answer: the control socket is closed last.
      setImmediate(() => void stop())
    },
    kill: () => primary.kill(),
    logs: (argument, client) => {
      const { last = 20, follow = false } = (argument ?? {}) as { last?: number; follow?: boolean }
      for (const line of lines.last(Number(last))) client.tell(line)
      if (!follow) return undefined
      return new Promise<void>((resolve) => {
        const stop = lines.follow(createFollower(client, primary.name))
        primary.tail(true)
        const done = (): void => {
          stop()
          primary.events.off('stopping', done)
          if (lines.followers === 0) primary.tail(false)
          resolve()
        }
        client.signal.addEventListener('abort', done, { once: true })
        primary.events.once('stopping', done)
      })
    },
  }
}
