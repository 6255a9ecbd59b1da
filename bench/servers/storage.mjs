// Uploads to S3 by way of KIND, all at /. OPTIONS: where the S3 server is.
import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import scaleStorage, { acceptRawBodies } from '@fastify-scale/storage'
import multipart from '@fastify/multipart'
import Fastify from 'fastify'
import { serve } from './print-url.mjs'

const kind = process.env.KIND
const options = JSON.parse(process.env.OPTIONS)
const app = Fastify({ bodyLimit: 2 ** 40 })
const s3 = new S3Client({
  endpoint: options.endpoint,
  region: options.region,
  credentials: options.credentials,
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
})
let count = 0
const object = () => ({ Bucket: options.bucket, Key: `bench/${process.pid}/${count++}` })

/** The body, hashed as it passes, which is what ours does too. */
function hashed(stream) {
  const hash = createHash('sha256')
  return stream.pipe(
    new Transform({
      transform(chunk, _encoding, done) {
        hash.update(chunk)
        done(null, chunk)
      },
    }),
  )
}

const upload = async (Body) => ({ key: (await new Upload({ client: s3, params: { ...object(), Body } }).done()).Key })
async function put(request, Body) {
  await s3.send(new PutObjectCommand({ ...object(), Body, ContentLength: Number(request.headers['content-length']) }))
  return {}
}

const raw = {
  raw: (request) => app.storage.upload(request),
  put: (request) => put(request, request.raw),
  'put-hashed': (request) => put(request, hashed(request.raw)),
  upload: (request) => upload(request.raw),
}
if (kind === 'form' || kind === 'raw') await app.register(scaleStorage, { ...options, maxBytes: '2GB' })
if (kind === 'form') app.post('/', (request) => app.storage.upload(request))
else if (kind === 'recipe') {
  await app.register(multipart, { limits: { fileSize: 2 * 1_024 ** 3 } })
  app.post('/', async (request) => upload((await request.file()).file))
} else
  await app.register(async (scope) => {
    acceptRawBodies(scope)
    scope.put('/', raw[kind])
  })
await serve(app)
