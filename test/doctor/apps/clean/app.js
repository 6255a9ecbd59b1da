// Looks suspicious and is not: times, random numbers, module constants, a library's interval, a file outside the folder.
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const GREETINGS = ['hello', 'good day']

export default async function app(fastify) {
  fastify.get('/', async () => ({ greeting: GREETINGS[0] }))
  fastify.get('/time', async () => ({
    now: new Date().toISOString(),
    at: process.hrtime.bigint().toString(),
    id: Math.random(),
  }))
  fastify.get('/list', async () => ({ items: [{ id: Math.random(), name: 'one' }] }))
  fastify.post('/echo', async (request) => {
    await writeFile(join(tmpdir(), 'fastify-scale-doctor-test.txt'), 'outside')
    return request.body
  })
}
