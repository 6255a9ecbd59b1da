import scaleStorage from '@fastify-scale/storage'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { contentSecurityPolicy } from '../src/csp.ts'
import type { Env } from '../src/env.ts'

const aws = { S3_REGION: 'eu-central-1', S3_BUCKET: 'board', PUBLIC_BASE_URL: 'https://cdn.board.test/pictures' }

/** Where browsers are sent for an original, and where the form of an upload goes. */
async function origins(config: { S3_ENDPOINT?: string; S3_BUCKET: string; S3_REGION: string }): Promise<string[]> {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(scaleStorage, {
    bucket: config.S3_BUCKET,
    region: config.S3_REGION,
    endpoint: config.S3_ENDPOINT || undefined,
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    publicBaseUrl: aws.PUBLIC_BASE_URL,
  })
  const original = await app.storage.signedUrl('private/photos/0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b.png')
  const upload = await app.storage.createDirectUpload({ contentType: 'image/png' })
  return [original, upload.url].map((url) => new URL(url).origin)
}

test.each([
  ['on AWS', aws],
  ['on AWS, with an endpoint that is empty', { ...aws, S3_ENDPOINT: '' }],
  ['on AWS, in a bucket with a dot', { ...aws, S3_BUCKET: 'board.example' }],
  ['on AWS in China', { ...aws, S3_REGION: 'cn-north-1' }],
  ['on a server of its own', { ...aws, S3_ENDPOINT: 'http://s3.internal:9000/' }],
])(
  '%s the page may show originals, upload straight to the bucket, and show what the CDN has',
  async (_where, config) => {
    const { imgSrc, connectSrc } = contentSecurityPolicy(config as Env).directives ?? {}
    for (const origin of [...(await origins(config)), 'https://cdn.board.test']) {
      expect(imgSrc).toContain(origin)
      expect(connectSrc).toContain(origin)
    }
    expect(imgSrc).toHaveLength(5)
  },
)

test('without a CDN all is in the bucket', () => {
  const { imgSrc } = contentSecurityPolicy({ ...aws, PUBLIC_BASE_URL: '' } as Partial<Env> as Env).directives ?? {}
  expect(imgSrc).toEqual(["'self'", 'data:', 'blob:', 'https://board.s3.eu-central-1.amazonaws.com'])
})
