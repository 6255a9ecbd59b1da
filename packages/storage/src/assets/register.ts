import { resolve } from 'node:path'
import { addReadinessCheck, checkKnown, parseDuration, withDeadline } from '@fastify-scale/kit'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { NotReadyError, StorageOptionError, UnknownAssetError } from '../errors.ts'
import { isPrefix } from '../keys.ts'
import type { StorageEngine } from '../storage.ts'
import { type AssetUrl, localAssetUrl, publishedAssetUrl } from './asset-url.ts'
import { createManifestLoader, manifestKey } from './manifest.ts'
import type { AssetsOptions } from './options.ts'

const KEYS = ['dir', 'urlPath', 'prefix', 'release', 'retryDelay']
/** How long the start may wait for the manifest; after that it is loaded in the background. */
const START_WAIT = 3_000

const fail = (message: string): Error => new StorageOptionError(message)

/** Serves the directory, or follows the published manifest; returns what gives out the URLs. */
export async function registerAssets(
  fastify: FastifyInstance,
  options: AssetsOptions | undefined,
  engine: StorageEngine,
  name: string,
): Promise<AssetUrl> {
  if (options === undefined)
    return () => {
      throw new UnknownAssetError("there are no assets: pass the option 'assets' to scaleStorage")
    }
  checkKnown(options, KEYS, "option 'assets'", fail)
  const { dir, urlPath = '/assets/', prefix = 'assets', release } = options
  if (!/^\/([^?#]*\/)?$/.test(urlPath)) throw fail("option 'assets.urlPath' must begin and end with '/'")
  if (prefix === '' || !isPrefix(prefix)) throw fail("option 'assets.prefix' must be path segments like 'assets'")
  const retryDelay = parseDuration(options.retryDelay ?? 1_000, { name: 'assets.retryDelay', fail })

  if (dir !== undefined) {
    const root = resolve(dir)
    await fastify.register(fastifyStatic, { root, prefix: urlPath, decorateReply: false, index: false })
    return localAssetUrl(root, `${fastify.prefix}${urlPath}`)
  }

  const loader = createManifestLoader(engine.deps, manifestKey(prefix, release), retryDelay)
  fastify.addHook('onReady', async function scaleStorageManifest() {
    await withDeadline(loader.start(), START_WAIT, 'loading the asset manifest').catch(() => {})
    if (loader.manifest === undefined) fastify.log.warn({ reason: loader.reason }, 'storage: no asset manifest yet')
  })
  fastify.addHook('onClose', async function scaleStorageManifestStop() {
    loader.stop()
  })
  addReadinessCheck(fastify, {
    name: `${name}: asset manifest`,
    check() {
      if (loader.manifest === undefined) throw new NotReadyError(loader.reason)
    },
  })
  return publishedAssetUrl(
    () => loader.manifest,
    () => loader.reason,
    (key) => engine.urls.url(key),
  )
}
