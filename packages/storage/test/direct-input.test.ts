import { describe, expect, test } from 'vitest'
import { png, postDirect, useS3 } from './helpers.ts'

const s3 = useS3()

describe('what clients send back for a direct upload', () => {
  test.each([undefined, null, 5, {}, ['pending/x'], '', 'pending/'])('%j is no key', async (key) => {
    const app = await s3.app({}, (routes) => {
      routes.post<{ Body: { key: string } }>('/complete', ({ body }) => routes.storage.completeDirectUpload(body.key))
      routes.post<{ Body: { key: string } }>('/abort', ({ body }) => routes.storage.abortDirectMultipart(body.key, 'x'))
    })
    const { storage } = app
    for (const url of ['/complete', '/abort']) {
      const answer = await app.inject({ method: 'POST', url, payload: { key } })
      expect([answer.statusCode, answer.json()]).toMatchObject([404, { code: 'SCALE_STORAGE_NOT_FOUND' }])
    }
    await expect(storage.delete(key as string)).rejects.toMatchObject({ code: 'SCALE_STORAGE_FOREIGN_URL' })
    await expect(storage.signedUrl(key as string)).rejects.toMatchObject({ code: 'SCALE_STORAGE_FOREIGN_URL' })
  })

  test.each([undefined, '', null, 5])(
    '%j is no uploadId: nothing is given up, and nothing removed',
    async (uploadId) => {
      const { storage } = await s3.app()
      const parts = await storage.createDirectMultipart({ size: 6_000_000 })
      const whole = await storage.createDirectUpload()
      await postDirect(whole, png(10_000))
      for (const { key } of [parts, whole])
        await expect(storage.abortDirectMultipart(key, uploadId as string)).rejects.toMatchObject({
          code: 'SCALE_STORAGE_OPTION',
        })
      expect(await s3.keys()).toEqual([whole.key])
      expect(await s3.uploads()).toEqual([parts.key])
    },
  )
})
