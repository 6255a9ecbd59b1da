import { Readable } from 'node:stream'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { describe, expect, test } from 'vitest'
import scaleCompress from '../src/index.ts'
import { GZIP, bareApp, createApp, decode, text } from './helpers.ts'

// As a file name with a letter that a header can't carry, from whoever uploaded the file.
const UNSENDABLE = 'attachment; filename="\u20ac.csv"'
const BODY = text(20_000)

const bodies: [string, { syncLimit: number | string }, () => unknown][] = [
  ['on the event loop', { syncLimit: '1MB' }, () => BODY],
  ['in the thread pool', { syncLimit: 0 }, () => BODY],
  ['as a stream', { syncLimit: 0 }, () => Readable.from([BODY])],
]

describe('a header that can not be sent', () => {
  function answer(app: FastifyInstance, make: () => unknown): Promise<LightMyRequestResponse> {
    app.get('/', (_request, reply) => reply.type('text/csv').header('content-disposition', UNSENDABLE).send(make()))
    return app.inject({ url: '/', headers: GZIP })
  }

  test.each(bodies)(
    'fails the request and not the process, with the body compressed %s',
    async (_name, options, make) => {
      const response = await answer(await createApp(options), make)
      expect(response.statusCode).toBe(500)
      expect(decode(response)).toContain('Invalid character in header')
    },
  )

  test.each(bodies)(
    'is answered by the error handler, plain, after the body was compressed %s',
    async (_name, options, make) => {
      const app = await createApp(options)
      app.setErrorHandler((error, _request, reply) =>
        reply
          .code(500)
          .removeHeader('content-disposition')
          .type('text/plain')
          .send((error as Error).message),
      )
      const response = await answer(app, make)
      expect(response.headers['content-encoding']).toBeUndefined()
      expect(response.payload).toContain('Invalid character')
    },
  )

  test('a long error is compressed in its turn', async () => {
    const app = await createApp()
    app.setErrorHandler((_error, _request, reply) =>
      reply.code(500).removeHeader('content-disposition').type('text/plain').send(`failed: ${BODY}`),
    )
    const response = await answer(app, () => BODY)
    expect(response.headers['content-encoding']).toBe('gzip')
    expect(decode(response)).toBe(`failed: ${BODY}`)
  })
})

describe('a hook that fails after the body was compressed', () => {
  test('is answered with an error that can be read, from a 404 handler and an early route', async () => {
    const app = bareApp()
    void app.register(scaleCompress)
    app.addHook('onSend', async (_request, reply) => {
      if (reply.statusCode < 500) throw new Error('the hook failed')
    })
    app.get('/early', () => BODY)
    app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/html').send(BODY))
    for (const url of ['/early', '/nowhere']) {
      const response = await app.inject({ url, headers: GZIP })
      expect(response.headers['content-encoding']).toBeUndefined()
      expect(response.json()).toMatchObject({ message: 'the hook failed' })
    }
  })

  test('a body that two registrations may compress is compressed once', async () => {
    const app = await createApp()
    await app.register(
      async (child) => {
        await child.register(scaleCompress)
        child.setNotFoundHandler((_request, reply) => reply.code(404).type('text/html').send(BODY))
      },
      { prefix: '/child' },
    )
    expect(decode(await app.inject({ url: '/child/nowhere', headers: GZIP }))).toBe(BODY)
  })
})
