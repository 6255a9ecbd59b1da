import { statSync } from 'node:fs'
import { join } from 'node:path'
import { UnknownAssetError } from '../errors.ts'
import type { Manifest } from './manifest.ts'

export interface AssetUrlOptions {
  /** The request's Accept-Encoding: where it takes gzip, the URL is that of the gzip variant, if there is one. */
  acceptEncoding?: string
}

/** Gives the URL of an asset by its path in the directory. */
export type AssetUrl = (name: string, options?: AssetUrlOptions) => string

/** URLs of files that this process serves itself; a name that is not there fails as it would in production. */
export function localAssetUrl(dir: string, urlPath: string): AssetUrl {
  return (name) => {
    const safe = isAssetName(name)
    if (!safe || !statSync(join(dir, name), { throwIfNoEntry: false })?.isFile()) throw unknown(name)
    return `${urlPath}${encodePath(name)}`
  }
}

/** URLs of published files. */
export function publishedAssetUrl(
  manifest: () => Manifest | undefined,
  reason: () => string,
  url: (key: string) => string,
): AssetUrl {
  return (name, { acceptEncoding } = {}) => {
    const known = manifest()
    if (!known) throw new UnknownAssetError(`the asset manifest is not there: ${reason()}`)
    const entry = Object.hasOwn(known.assets, name) ? known.assets[name] : undefined
    if (!entry) throw unknown(name)
    return url(entry.gzip !== undefined && takesGzip(acceptEncoding) ? entry.gzip : entry.key)
  }
}

/** A relative path with `/` that stays inside its directory. */
export function isAssetName(name: string): boolean {
  return name !== '' && !name.includes('\\') && !name.includes('\0') && name.split('/').every(isSegment)
}

function isSegment(segment: string): boolean {
  return segment !== '' && segment !== '.' && segment !== '..'
}

function encodePath(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/')
}

function unknown(name: string): Error {
  return new UnknownAssetError(`there is no asset '${name}'`)
}

/** RFC 9110, 12.5.3, for the one coding that variants have. */
function takesGzip(acceptEncoding = ''): boolean {
  let any = false
  for (const item of acceptEncoding.toLowerCase().split(',')) {
    const [coding = '', ...parameters] = item.split(';').map((part) => part.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    const taken = weight === undefined || Number(weight.slice(2)) > 0
    if (coding === 'gzip' || coding === 'x-gzip') return taken
    if (coding === '*') any = taken
  }
  return any
}
