import { PassThrough, Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { assertType, expectTypeOf, test } from 'vitest'
import scaleStorage, { type CompletedFile, type ScaleStorage, type StoredFile } from '../src/index.ts'

declare const app: FastifyInstance

test('one file, or several, without a cast', () => {
  expectTypeOf(app.storage).toEqualTypeOf<ScaleStorage>()
  app.post('/', async (request) => {
    expectTypeOf(await app.storage.upload(request)).toEqualTypeOf<StoredFile>()
    const many = await app.storage.upload(request, {
      maxFiles: 3,
      persist: (files) => expectTypeOf(files).toEqualTypeOf<StoredFile[]>(),
    })
    expectTypeOf(many).toEqualTypeOf<StoredFile[]>()
    return app.storage.upload(request, {
      persist: (file, fields) => {
        expectTypeOf(file).toEqualTypeOf<StoredFile>()
        expectTypeOf(fields).toEqualTypeOf<URLSearchParams>()
      },
    })
  })
})

test('any request, whatever its type parameters', () => {
  app.post<{ Params: { id: string }; Body: { a: number } }>('/:id', async (request) => app.storage.upload(request))
  assertType<Promise<StoredFile>>(app.storage.upload({} as FastifyRequest<{ Querystring: { q: string } }>))
})

test('a part taken from the form', () => {
  app.post('/', async (request) => app.storage.upload(request, { part: await request.file() }))
})

test('what the service makes itself', async () => {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1)
  }
  for (const body of [
    Buffer.alloc(1),
    new Uint8Array(1),
    new PassThrough(),
    Readable.toWeb(new PassThrough()),
    bytes(),
  ]) {
    const file = await app.storage.put(body, {
      contentType: 'image/webp',
      persist: (stored) => expectTypeOf(stored).toEqualTypeOf<StoredFile>(),
    })
    expectTypeOf(file).toEqualTypeOf<StoredFile>()
  }
  // @ts-expect-error: text is no bytes
  void app.storage.put('text')
  // @ts-expect-error: one file
  void app.storage.put(Buffer.alloc(1), { maxFiles: 2 })
})

test('options and route config are checked', () => {
  void app.register(scaleStorage, { bucket: 'b', publicBaseUrl: 'https://x.example', maxBytes: '1MB' })
  // @ts-expect-error: no publicBaseUrl
  void app.register(scaleStorage, { bucket: 'b' })
  app.post('/', { config: { storage: { maxBytes: '1MB', allowedTypes: ['image/*'] } } }, async () => 'x')
  // @ts-expect-error: not a size
  app.post('/', { config: { storage: { maxBytes: true } } }, async () => 'x')
})

test('direct uploads', async () => {
  const file = await app.storage.completeDirectUpload('key', {
    persist: (stored) => expectTypeOf(stored).toEqualTypeOf<CompletedFile>(),
  })
  expectTypeOf(file.sha256).toEqualTypeOf<string | undefined>()
  expectTypeOf((await app.storage.createDirectMultipart({ size: 1 })).parts[0]?.url).toEqualTypeOf<string | undefined>()
})
