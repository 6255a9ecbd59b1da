import multipart, { type FastifyMultipartBaseOptions } from '@fastify/multipart'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import scaleStorage, { type StoredFile } from '../src/index.ts'
import { type FormPart, filePart, form, png, useS3 } from './helpers.ts'

const s3 = useS3()

/** What a browser sends for a file input that was left empty. */
const empty = (name: string): FormPart => filePart(Buffer.alloc(0), name, '', 'application/octet-stream')

async function start(registration?: FastifyMultipartBaseOptions & { attachFieldsToBody?: true }): Promise<{
  send(url: '/one' | '/two', ...parts: FormPart[]): Promise<{ status: number; code?: string; sizes?: number[] }>
}> {
  const app: FastifyInstance = Fastify()
  s3.later(() => app.close())
  if (registration) await app.register(multipart, registration)
  await app.register(scaleStorage, s3.options())
  app.post('/one', async (request) => [await app.storage.upload(request)])
  app.post('/two', (request) => app.storage.upload(request, { maxFiles: 2 }))
  return {
    async send(url, ...parts) {
      const response = await app.inject({ method: 'POST', url, ...form(...parts) })
      const body = response.json<StoredFile[] & { code?: string }>()
      if (response.statusCode !== 200) return { status: response.statusCode, code: body.code }
      return { status: 200, sizes: body.map(({ size }) => size) }
    },
  }
}

describe.each([
  ['that is read as it comes', undefined],
  ['that attachFieldsToBody: true has read', { attachFieldsToBody: true as const }],
])('a form %s', (_how, registration) => {
  const real = filePart(png(100), 'avatar')
  const inputs = Array.from({ length: 20 }, (_, i) => empty(`more${i}`))

  test.each<['/one' | '/two', FormPart[], object]>([
    ['/one', [real, ...inputs], { status: 200, sizes: [100] }],
    ['/one', [...inputs, real], { status: 200, sizes: [100] }],
    ['/two', [real, ...inputs, real], { status: 200, sizes: [100, 100] }],
    ['/one', inputs, { status: 400, code: 'SCALE_STORAGE_NO_FILE' }],
    ['/one', [real, ...inputs, real], { status: 413, code: 'SCALE_STORAGE_TOO_MANY_FILES' }],
    // An empty file has a name.
    ['/one', [filePart(Buffer.alloc(0)), ...inputs], { status: 200, sizes: [0] }],
  ])('may have file inputs that were left empty (%s, case %#)', async (url, parts, expected) => {
    const { send } = await start(registration)
    expect(await send(url, ...parts)).toEqual(expected)
    expect(await s3.keys()).toHaveLength((expected as { sizes?: number[] }).sizes?.length ?? 0)
  })

  test('may not have more parts than a form of ours', async () => {
    const { send } = await start(registration)
    const many = Array.from({ length: 1_500 }, (_, i) => empty(`more${i}`))
    expect(await send('/one', ...many)).toEqual({ status: 413, code: expect.any(String) })
  })

  test('has no field that was cut off', async () => {
    const { send } = await start(registration && { ...registration, limits: { fieldSize: 10_000 } })
    const long = { name: 'caption', value: 'x'.repeat(70_000) }
    expect(await send('/one', long, real)).toEqual({ status: 413, code: 'SCALE_STORAGE_TOO_MANY_PARTS' })
    expect(await s3.keys()).toEqual([])
  })
})
