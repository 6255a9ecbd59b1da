// Looks suspicious and is not: times, random numbers, module constants, what a process knows of itself, streams that do
// not end, a file outside the folder.
import { appendFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'

const GREETINGS = ['hello', 'good day']

export default async function app(fastify) {
  fastify.get('/', async () => ({ greeting: GREETINGS[0] }))
  fastify.get('/time', async () => ({
    now: new Date().toISOString(),
    at: process.hrtime.bigint().toString(),
    id: Math.random(),
  }))
  fastify.get('/list', async () => ({ items: [{ id: Math.random(), name: 'one' }] }))
  fastify.get('/health', async () => ({ status: 'ok', uptime: Math.round(process.uptime()) }))
  fastify.get('/memory', async () => ({ heap: process.memoryUsage().heapTotal, rss: process.memoryUsage.rss() }))
  fastify.get('/request', async (request) => ({ id: request.id }))
  fastify.get('/events', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: 1\n\n')
    reply.raw.on('close', () => appendFileSync(process.env.CLOSED, 'events '))
  })
  fastify.get('/stream', (_request, reply) => {
    const source = new Readable({ read() {} })
    source.on('close', () => appendFileSync(process.env.CLOSED, 'stream '))
    reply.type('text/event-stream').send(source)
  })
  fastify.post('/echo', async (request) => {
    await writeFile(join(tmpdir(), 'fastify-scale-doctor-test.txt'), 'outside')
    return request.body
  })
}
