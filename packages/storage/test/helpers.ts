import { createHash, randomBytes } from 'node:crypto'
import { type ClientRequest, type IncomingHttpHeaders, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3'
import { type S3Server, startS3 } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import scaleStorage, { type DirectUpload, type ScaleStorageOptions } from '../src/index.ts'

export const CDN = 'https://cdn.example.test/files'

export interface Fixture {
  readonly server: S3Server
  readonly s3: S3Client
  /** Options for scaleStorage that reach the server; each test gets a bucket of its own. */
  options(overrides?: Partial<ScaleStorageOptions>): ScaleStorageOptions
  readonly bucket: string
  /** An app with scaleStorage, closed after the test. */
  app(
    overrides?: Partial<ScaleStorageOptions>,
    routes?: (app: FastifyInstance) => void | Promise<void>,
    fastifyOptions?: FastifyServerOptions,
  ): Promise<FastifyInstance>
  keys(): Promise<string[]>
  uploads(): Promise<string[]>
  head(key: string): Promise<Awaited<ReturnType<S3Client['send']>> & Record<string, unknown>>
  body(key: string): Promise<Buffer>
  /** Ends after the test. */
  later(end: () => unknown): void
}

/** A real S3 server for the tests of one file. */
export function useS3(): Fixture {
  let server: S3Server
  let s3: S3Client
  let bucket: string
  const ends: (() => unknown)[] = []

  beforeAll(async () => {
    server = await startS3()
    s3 = new S3Client({
      endpoint: server.endpoint,
      region: server.region,
      forcePathStyle: true,
      credentials: server,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    })
  })
  beforeEach(async () => {
    bucket = await server.createBucket()
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  afterAll(async () => {
    s3?.destroy()
    await server?.stop()
  })

  const fixture: Fixture = {
    get server() {
      return server
    },
    get s3() {
      return s3
    },
    get bucket() {
      return bucket
    },
    options: (overrides) => ({
      bucket,
      publicBaseUrl: CDN,
      endpoint: server.endpoint,
      region: server.region,
      credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
      ...overrides,
    }),
    async app(overrides, routes, fastifyOptions) {
      const app = Fastify(fastifyOptions)
      ends.push(() => app.close())
      await app.register(scaleStorage, fixture.options(overrides))
      await routes?.(app)
      await app.ready()
      return app
    },
    async keys() {
      const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket }))
      return Contents.map(({ Key }) => Key ?? '')
    },
    async uploads() {
      const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
      return Uploads.map(({ Key }) => Key ?? '')
    },
    head: (key) => s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key })) as never,
    async body(key) {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
      return Buffer.from((await Body?.transformToByteArray()) ?? [])
    },
    later: (end) => void ends.push(end),
  }
  return fixture
}

export async function listen(app: FastifyInstance): Promise<string> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

const PNG_HEAD = Buffer.concat([
  Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010806000000', 'hex'),
  Buffer.from('1f15c489', 'hex'),
  Buffer.from('7fffffff', 'hex'),
  Buffer.from('IDAT'),
])

/** A body of that many bytes that begins as a PNG does, and goes on at random. */
export function png(size: number): Buffer<ArrayBuffer> {
  return Buffer.concat([PNG_HEAD, randomBytes(Math.max(0, size - PNG_HEAD.length))]).subarray(0, size)
}

export const PDF: Buffer<ArrayBuffer> = Buffer.from('%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj\n<<>>\nendobj\n', 'latin1')

export type FormPart = { name: string; value: string } | { name: string; filename: string; type: string; data: Buffer }

const BOUNDARY = 'fastify-scale-test-boundary'

/** A multipart body in one piece, for `inject` and raw sockets. */
export function form(...parts: FormPart[]): { payload: Buffer; headers: { 'content-type': string } } {
  const pieces = parts.flatMap((part) => [
    Buffer.from(
      'value' in part
        ? `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${part.name}"\r\n\r\n`
        : `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${part.name}"; filename="${part.filename}"\r\nContent-Type: ${part.type}\r\n\r\n`,
    ),
    'value' in part ? Buffer.from(part.value) : part.data,
    Buffer.from('\r\n'),
  ])
  return {
    payload: Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)]),
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
  }
}

export const filePart = (data: Buffer, name = 'file', filename = 'x.png', type = 'image/png'): FormPart => ({
  name,
  filename,
  type,
  data,
})

/** What a browser does with a direct upload. */
export async function postDirect(
  upload: DirectUpload,
  data: Buffer<ArrayBuffer>,
  changes: Record<string, string> = {},
): Promise<Response> {
  const body = new FormData()
  for (const [name, value] of Object.entries({ ...upload.fields, ...changes })) body.append(name, value)
  body.append('file', new Blob([data]), 'whatever.exe')
  return fetch(upload.url, { method: 'POST', body })
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  code: string | undefined
  body: string
  /** ms from the start of the request to the end of the answer. */
  ms: number
}

/**
 * Sends a form with one file over a real connection, as slowly or partially as the test likes: `feed` writes what it wants
 * of the file and ends it by returning, or leaves it open by never returning.
 */
export function sendForm(
  url: string,
  feed: (write: (chunk: Buffer) => Promise<void>, request: ClientRequest) => Promise<void>,
): { answer: Promise<Answer>; request: ClientRequest } {
  const [head, tail] = split(form(filePart(Buffer.from('|'))).payload)
  const start = performance.now()
  const request = httpRequest(url, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}`, 'transfer-encoding': 'chunked' },
  })
  const answer = new Promise<Answer>((resolve, reject) => {
    let answered = false
    request.on('error', (error) => answered || reject(error))
    request.on('response', (response) => {
      answered = true
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString()
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          code: (JSON.parse(body) as { code?: string }).code,
          body,
          ms: performance.now() - start,
        })
      })
    })
  })
  answer.catch(() => {})
  const write = (chunk: Buffer): Promise<void> =>
    new Promise((resolve) => {
      if (request.destroyed) return resolve()
      if (request.write(chunk)) return resolve()
      const done = (): void => {
        request.off('drain', done)
        request.off('close', done)
        resolve()
      }
      request.on('drain', done)
      request.on('close', done)
    })
  const feeding = write(head)
    .then(() => feed(write, request))
    .then(() => void request.end(tail))
  feeding.catch(() => {})
  return { answer, request }
}

function split(payload: Buffer): [Buffer, Buffer] {
  const at = payload.indexOf('\r\n\r\n|\r\n') + 4
  return [payload.subarray(0, at), payload.subarray(at + 1)]
}
