import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LIST, startBoard } from '../lib/board.mjs'
import { httpRound, startServer } from '../lib/http.mjs'

const file = (name) => new URL(`../servers/${name}.mjs`, import.meta.url).pathname
const command = (name) => [process.execPath, file(name)]
const headers = { 'accept-encoding': 'gzip' }

async function listOf(env) {
  const server = await startServer(command('board'), { env })
  try {
    return await (await fetch(server.url + LIST)).text()
  } finally {
    await server.stop()
  }
}

/** What a browser that is logged in sends: the session's cookies. */
async function signUp(url) {
  const body = JSON.stringify({ name: randomBytes(8).toString('hex'), password: randomBytes(8).toString('hex') })
  const answer = await fetch(`${url}/api/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  if (answer.status !== 201) throw new Error(`no sign-up: ${answer.status} ${await answer.text()}`)
  const cookie = answer.headers
    .getSetCookie()
    .map((one) => one.split(';')[0])
    .join('; ')
  return { cookie, token: (await answer.json()).accessToken }
}

export default {
  title: 'The full stack: the list of photos',
  question:
    "What does the whole suite cost per request? The example's list route (24 photos as JSON), to a client that takes gzip, in one process: through authentication (HS256, with revocations), route cache and gzip, beside a bare Fastify handler that answers the same body as a constant; and from the example app as it is, with helmet, rate limits and all else, as its page asks, with the session's cookies and with a bearer token. The same token is sent to all in the first three rows.",
  base: 'bare handler, constant text',
  note: 'A request with a bearer token is not answered from the cache in the last row: the answer does not say `public`, and a shared cache may then not use it for a request with Authorization (RFC 9111, 3.5), so PostgreSQL is asked and the answer compressed each time. The page asks for its list without one. Where a list is the same for all who are logged in, `s-maxage` or `public` in its answer lets it be shared, as in the third row.',
  metrics: [
    { key: 'cpuPer1k', label: 'CPU ms per 1,000 requests', better: 'low', chart: true },
    { key: 'rps', label: 'requests/s', better: 'high' },
    { key: 'p99', label: 'p99 ms', better: 'low' },
    { key: 'rssMb', label: 'memory MB', better: 'low' },
  ],
  goals: [
    {
      metric: 'cpuPer1k',
      contender: 'fastify-scale: auth, route cache, gzip',
      over: 'bare handler, constant text',
      max: 2,
    },
    {
      metric: 'cpuPer1k',
      contender: 'fastify-scale: the example app',
      over: 'bare handler, constant text',
      max: 2,
      why: 'The three plugins of the row above are within the goal with the same list; the rest is what else the board does for each request: its other plugins and hooks, and the cookies that it reads.',
    },
  ],
  async setup() {
    const board = await startBoard()
    const body = join(tmpdir(), `bench-list-${process.pid}.json`)
    const stop = async () => {
      rmSync(body, { force: true })
      await board.stop()
    }
    try {
      writeFileSync(body, await listOf(board.env))
    } catch (error) {
      await stop()
      throw error
    }
    return { env: { ...board.env, BODY: body }, stop }
  },
  contenders({ env }) {
    const alone = (kind) => () =>
      httpRound({
        command: command('full-stack'),
        env: { ...env, KIND: kind },
        path: LIST,
        headers,
        prepare: async (url) => {
          const { token } = await (await fetch(`${url}/token`)).json()
          return { headers: { authorization: `Bearer ${token}` } }
        },
      })
    const example = (credentials) => () =>
      httpRound({
        command: command('board'),
        env,
        path: LIST,
        headers,
        prepare: async (url) => ({ headers: credentials(await signUp(url)) }),
      })
    return {
      'bare handler, constant text': alone('plain'),
      'bare handler, constant gzip Buffer': alone('gzipped'),
      'fastify-scale: auth, route cache, gzip': alone('suite'),
      'fastify-scale: the example app': example(({ cookie }) => ({ cookie })),
      'fastify-scale: the example app, bearer token': example(({ token }) => ({ authorization: `Bearer ${token}` })),
    }
  },
}
