import { createHash } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip as gzipCallback } from 'node:zlib'
import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import mime from 'mime'
import { StorageOptionError } from '../errors.ts'
import { isPrefix } from '../keys.ts'
import { S3Error } from '../s3-call.ts'
import type { UploadDeps } from '../upload.ts'
import { rewriteCss } from './css.ts'
import { type Manifest, manifestKey } from './manifest.ts'

const gzip = promisify(gzipCallback)

const IMMUTABLE = 'public, max-age=31536000, immutable'
const AT_ONCE = 4

export interface PublishOptions {
  /** First part of the keys. Default `'assets'`. */
  prefix?: string
  /** Also write the manifest under this name, for processes of that release while another one is published. */
  release?: string
  /** Leave the names as they are, for bundlers that have put hashes in them already. Default false. */
  keepNames?: boolean
  /** Called for each file that was sent. */
  onFile?: (name: string, key: string) => void
}

export interface PublishResult {
  manifest: Manifest
  /** Objects sent; what was there already is not sent again. */
  uploaded: number
  /** Objects that were there already. */
  unchanged: number
}

/**
 * Sends a directory of static files to the bucket, each under a name with the hash of its content, so that it can be cached for
 * ever. The manifest comes last: whoever reads it finds everything it names. Nothing is removed, since processes of the
 * release before still give out its URLs.
 */
export async function publish(
  deps: Pick<UploadDeps, 's3' | 'call' | 'bucket' | 'acl'>,
  dir: string,
  options: PublishOptions = {},
): Promise<PublishResult> {
  const { prefix = 'assets', release, keepNames = false, onFile } = options
  if (prefix === '' || !isPrefix(prefix))
    throw new StorageOptionError("option 'prefix' of publish() must be path segments like 'assets'")
  if (release !== undefined && !/^[\w.-]{1,100}$/.test(release))
    throw new StorageOptionError("option 'release' of publish() must be of letters, digits, '_', '-' and '.'")

  const names = await filesOf(dir)
  if (names.length === 0) throw new StorageOptionError(`there is nothing to publish in ${dir}`)
  /** Ends the other files when one has failed. */
  const stop = new AbortController()
  const { signal } = stop
  const result: PublishResult = { manifest: { version: 1, assets: {} }, uploaded: 0, unchanged: 0 }
  const keyOf = new Map<string, string>()

  async function publishOne(name: string, content: Buffer): Promise<void> {
    const key = `${prefix}/${keepNames ? name : hashedName(name, content)}`
    const type = contentType(name)
    const packed = isCompressible(type) ? await gzip(content, { level: 9 }) : undefined
    // A variant must be worth the second name it has.
    const gzipKey = packed && packed.length < content.length * 0.9 ? `${key}.gz` : undefined
    await put(name, key, content, type)
    if (gzipKey !== undefined && packed) await put(name, gzipKey, packed, type, 'gzip')
    keyOf.set(name, key)
    result.manifest.assets[name] = {
      key,
      ...(gzipKey !== undefined && { gzip: gzipKey }),
      size: content.length,
      integrity: `sha384-${createHash('sha384').update(content).digest('base64')}`,
    }
  }

  async function put(name: string, key: string, body: Buffer, type: string, encoding?: 'gzip'): Promise<void> {
    if (!keepNames && (await isThere(key, body.length))) {
      result.unchanged++
      return
    }
    await deps.call(
      (o) =>
        deps.s3.send(
          new PutObjectCommand({
            Bucket: deps.bucket,
            Key: key,
            Body: body,
            ContentType: type,
            ContentEncoding: encoding,
            CacheControl: IMMUTABLE,
            ...(deps.acl && { ACL: 'public-read' }),
          }),
          o,
        ),
      signal,
    )
    result.uploaded++
    onFile?.(name, key)
  }

  async function isThere(key: string, size: number): Promise<boolean> {
    try {
      const head = await deps.call(
        (o) => deps.s3.send(new HeadObjectCommand({ Bucket: deps.bucket, Key: key }), o),
        signal,
      )
      return head.ContentLength === size
    } catch (error) {
      if (error instanceof S3Error && error.missing) return false
      throw error
    }
  }

  // Style sheets name other files: those come first, so that their hashed names can be put in.
  const isCss = (name: string): boolean => name.endsWith('.css')
  const plain = names.filter((name) => !isCss(name)).values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      try {
        for (const name of plain) await publishOne(name, await readFile(join(dir, name)))
      } catch (error) {
        stop.abort(error)
        throw error
      }
    }),
  )
  const sheets = new Map<string, string>()
  for (const name of names.filter(isCss)) sheets.set(name, await readFile(join(dir, name), 'utf8'))
  const visiting = new Set<string>()
  async function publishSheet(name: string, css: string): Promise<void> {
    if (keyOf.has(name) || visiting.has(name)) return
    visiting.add(name)
    for (const other of rewriteCss(name, css, () => undefined).references) {
      const imported = sheets.get(other)
      if (imported !== undefined) await publishSheet(other, imported)
    }
    const content = keepNames ? css : rewriteCss(name, css, (file) => keyOf.get(file)?.slice(prefix.length + 1)).css
    await publishOne(name, Buffer.from(content))
  }
  for (const [name, css] of sheets) await publishSheet(name, css)

  // In the order of the names: the same files make the same manifest.
  const { assets } = result.manifest
  result.manifest.assets = Object.fromEntries(names.map((name) => [name, assets[name] as Manifest['assets'][string]]))
  const body = JSON.stringify(result.manifest, null, 2)
  for (const key of release === undefined ? [manifestKey(prefix)] : [manifestKey(prefix, release), manifestKey(prefix)])
    await deps.call((o) =>
      deps.s3.send(
        new PutObjectCommand({
          Bucket: deps.bucket,
          Key: key,
          Body: body,
          ContentType: 'application/json',
          CacheControl: 'no-cache',
        }),
        o,
      ),
    )
  return result
}

/** All files below, as relative paths with `/`, sorted; hidden ones are left out. */
async function filesOf(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    throw new StorageOptionError(`the directory ${dir} can't be read (${error.code})`)
  })
  const files: string[] = []
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue
    if (entry.isDirectory())
      files.push(...(await filesOf(join(dir, entry.name))).map((name) => `${entry.name}/${name}`))
    else if (entry.isFile()) files.push(entry.name)
  }
  return files.sort()
}

/** `js/app.js` -> `js/app.3f2a9c0d41b7e865.js`. */
function hashedName(name: string, content: Buffer): string {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16)
  const slash = name.lastIndexOf('/') + 1
  const dot = name.indexOf('.', slash + 1)
  return dot < 0 ? `${name}.${hash}` : `${name.slice(0, dot)}.${hash}${name.slice(dot)}`
}

function contentType(name: string): string {
  const type = mime.getType(name) ?? 'application/octet-stream'
  return isText(type) ? `${type}; charset=utf-8` : type
}

function isText(type: string): boolean {
  return /^text\/|^(application\/(javascript|json|manifest\+json|xml)|image\/svg\+xml)$/.test(type)
}

function isCompressible(type: string): boolean {
  const plain = type.split(';', 1)[0] as string
  return (
    isText(plain) ||
    /\+(json|xml)$|^application\/wasm$|^font\/(ttf|otf)$|^image\/(bmp|x-icon|vnd\.microsoft\.icon)$/.test(plain)
  )
}
