import { createBroadcasts, type Broadcasts } from '../src/broadcast.ts'
import { createPeer, createPortPair, type Peer, type Port } from '../src/bus.ts'
import { createHub, type Hub } from '../src/hub.ts'
import { createSharedValues, type SharedValues } from '../src/shared.ts'
import { createSingletons, type Singletons } from '../src/singleton.ts'

/** A worker and its end of the channel, all in this process. */
export interface Worker {
  id: number
  peer: Peer
  /** The worker's end, for raw messages. */
  port: Port
  broadcasts: Broadcasts
  singletons: Singletons
  shared: SharedValues
  /** As when its process ends: nothing comes from it any more, then the primary sees the exit. */
  die(): void
}

export const errors: unknown[] = []
export const workers: Worker[] = []

/** After each test. */
export async function stopWorkers(): Promise<void> {
  errors.length = 0
  await Promise.all(workers.splice(0).map((worker) => worker.singletons.stop()))
}

export function makeHub(wallClock?: () => number): Hub {
  const refuse = (): never => {
    throw new RangeError('refused')
  }
  const commands = { status: () => 'fine', reload: refuse, scale: refuse, restart: refuse, kill: refuse, page: refuse }
  return createHub({ id: 'hub', commands, onError: (error) => errors.push(error), wallClock })
}

export function addWorker(hub: Hub, id: number): Worker {
  const [near, far] = createPortPair()
  let dead = false
  const own: Port = {
    send: (message) => !dead && near.send(message),
    listen: (listener) => near.listen((message) => void (dead || listener(message))),
  }
  const peer = createPeer(own, (error) => errors.push(error))
  const onError = (error: unknown): void => void errors.push(error)
  const singletons = createSingletons({ peer, onError, random: () => 0 })
  const worker: Worker = {
    id,
    peer,
    port: own,
    broadcasts: createBroadcasts(peer, onError),
    singletons,
    shared: createSharedValues({ peer, singletons, onError }),
    die() {
      dead = true
      hub.detach(id)
    },
  }
  hub.attach(id, far)
  singletons.start()
  worker.shared.start()
  workers.push(worker)
  return worker
}
