import { randomUUID } from 'node:crypto'
import {
  addReadinessCheck,
  createRedisClock,
  followStream,
  openConnections,
  pause,
  refuseTaken,
  startBudget,
} from '@fastify-scale/kit'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { changedChannel, loadedChannel, rejectedChannel } from './channels.ts'
import { NotLoadedError } from './errors.ts'
import { createLive } from './live.ts'
import { type SettingsOptions, fail, resolveOptions } from './options.ts'
import { createSettings } from './settings.ts'
import { keysOf, readSnapshot, toChange } from './store.ts'
import type { SettingsApi } from './types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Of @fastify-scale/settings. */
    settings: SettingsApi
  }
}

const PACKAGE = '@fastify-scale/settings'

const plugin: FastifyPluginAsync<SettingsOptions> = async (fastify, userOptions) => {
  const { definitions, decorator, prefix, timeout, history, maxSize, redis } = resolveOptions(userOptions)
  refuseTaken(fastify, decorator, 'decorator', fail)
  const { log } = fastify
  const connections = await openConnections({ packageName: PACKAGE, redis, host: fastify as object, log, fail })
  const keys = keysOf(connections.keyPrefix + prefix)
  const live = createLive({
    definitions,
    onRejected(key, error) {
      log.warn({ setting: key, reason: error.message }, 'a setting in Redis was not taken over')
      rejectedChannel.publish(() => ({ key, reason: error.message }))
    },
    onListenerError: (key, error) => log.error({ setting: key, err: error }, 'a listener of a setting failed'),
    onChanged: ({ key, version, at }) => changedChannel.publish(() => ({ key, version, at })),
  })
  const follower = followStream({
    client: connections.follower({ name: 'changes' }),
    key: keys.changes,
    async load(client) {
      const { values, position } = await readSnapshot(client, keys)
      live.replace(values)
      loadedChannel.publish(() => ({ set: values.size }))
      return position
    },
    onEntry(entry) {
      const change = toChange(entry)
      if (change) live.apply(change)
    },
    onDiscontinuity: () =>
      log.warn(
        'settings: the changes in Redis are not what they were (deleted, or too many missed); loading all values',
      ),
    onError: (error) => log.debug({ err: error }, 'settings: following failed, trying again'),
  })
  let loaded = false
  const firstLoad = follower.caughtUp.then(() => (loaded = true))

  fastify.addHook('onClose', async function scaleSettingsClose() {
    await follower.close()
    await connections.close()
  })
  const client = await connections.command({ timeout })
  fastify.decorate(
    decorator as 'settings',
    createSettings({
      live,
      definitions,
      age: () => follower.staleness(),
      store: {
        client,
        clock: createRedisClock(client, undefined, keys.values),
        keys,
        timeout,
        history,
        randomId: randomUUID,
      },
      maxSize,
    }),
  )
  addReadinessCheck(fastify, {
    name: `${decorator}: loaded`,
    check() {
      if (!loaded) throw new NotLoadedError('no settings could be loaded from Redis since this process started')
    },
  })
  // A service that is up has its settings; one whose Redis is away comes up with the defaults and is not ready. The
  // connection had its time before.
  await Promise.race([firstLoad, pause(Math.min(timeout, startBudget(fastify) / 2))])
  if (!loaded) log.warn('settings: Redis did not answer; defaults apply until it does')
}

/** Settings that change at run time and that every process sees. See `SettingsOptions`. */
export const scaleSettings: FastifyPluginAsync<SettingsOptions> = fp(plugin, { name: PACKAGE, fastify: '5.x' })
