import { rmSync } from 'node:fs'
import { type RedisServer, type S3Server, startRedis, startS3 } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULTS, type Names, addOurRoutes, checkOurs, registerOurs } from './ours.ts'
import { type Theirs, folder, theirs } from './theirs.ts'

let redis: RedisServer
let s3: S3Server
const apps: FastifyInstance[] = []
let registrations = 0

beforeAll(async () => {
  ;[redis, s3] = await Promise.all([startRedis({ args: ['--maxmemory-policy', 'noeviction'] }), startS3()])
}, 240_000)
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
})
afterAll(async () => {
  await Promise.all([redis?.stop(), s3?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

function create(): FastifyInstance {
  const app = Fastify()
  apps.push(app)
  return app
}
const ours = (app: FastifyInstance, names: Names, multipart = true) =>
  registerOurs(app, { redis, s3, names, multipart, prefix: `beside${++registrations}` })

describe.each(Object.entries(theirs))('%s', (_name, their) => {
  const { register, routes, check, names, ownsMultipart, taken = {} } = their as Theirs

  test('works as this test thinks, without ours', async () => {
    const app = create()
    await register(app)
    routes(app)
    await check(await app.listen({ port: 0, host: '127.0.0.1' }), app)
  })

  test.each(['theirs first', 'ours first'])('beside ours, %s: both work', async (order) => {
    const app = create()
    const all = { ...DEFAULTS, ...names }
    if (order === 'theirs first') await register(app)
    await ours(app, all, order === 'theirs first' || !ownsMultipart)
    if (order === 'ours first') await register(app)
    routes(app)
    addOurRoutes(app, all)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    await checkOurs(url, app, all)
    await check(url, app)
  })

  for (const [name, code] of Object.entries(taken))
    test(`${name} is theirs: ours says so, and how to give it another name`, async () => {
      const app = create()
      await register(app)
      await expect(ours(app, DEFAULTS)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(
          new RegExp(`'${name}' is taken by another plugin: choose another name with the option '\\w*decorator`),
        ),
      })
    })
})

test('all of them in one service', async () => {
  const app = create()
  const all = Object.assign({}, DEFAULTS, ...Object.values(theirs).map(({ names }) => names)) as Names
  const list = Object.values(theirs)
  for (const { register } of list.slice(0, 4)) await register(app)
  await ours(app, all, false)
  for (const { register } of list.slice(4)) await register(app)
  for (const { routes } of list) routes(app)
  addOurRoutes(app, all)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await checkOurs(url, app, all)
  for (const { check } of list) await check(url, app)
})
