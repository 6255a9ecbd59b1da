// Writes the worked example of docs/production.md from bench/results.json: node bench/capacity.mjs. `pnpm bench` does it too.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const PAGE = new URL('../docs/production.md', import.meta.url)
const MARK = '<!-- from bench/results.json by bench/capacity.mjs -->'

// What is assumed. Everything else was measured.
const USERS = 1_000_000
const SECONDS_PER_REQUEST = 10
const LISTS = 0.7
const UPLOADS = 0.001
const UPLOAD_MB = 1
const ROOM = 500
const SESSION_SECONDS = 600
const OWN_MS = 0.5
const CORES = 8
const MEMORY_GB = 32
// The launcher's red lines, and the lifetime of an access token, by default.
const RED_CPU = 0.75
const RED_MEMORY = 0.85
const TOKEN_SECONDS = 300

const whole = (number) => Math.round(number).toLocaleString('en')
const short = (number) => (number >= 100 ? whole(number) : String(Number(number.toPrecision(3))))

const NEEDED = ['launcher-2', 'auth-route', 'compress-20kb', 'storage-1mb', 'realtime-broadcast', 'realtime-idle']

/** The page with the example as the results have it; as it is, until all that it needs was measured. */
export function withCapacity(page, { comparisons }) {
  if (NEEDED.some((name) => !comparisons[name])) return page
  const of = (name, contender, key) => comparisons[name].contenders[contender][key].median
  // Less than nothing is noise.
  const over = (name, contender, base, key) => Math.max(0, of(name, contender, key) - of(name, base, key))
  const launcher = over('launcher-2', 'fastify-scale', 'node:cluster', 'cpuJson')
  const auth = over('auth-route', 'fastify-scale HS256', 'open, HS256 token sent', 'cpuPer1k')
  const cached = of('compress-20kb', 'fastify-scale from the cache', 'cpuPer1k')
  const json = of('launcher-2', 'fastify-scale', 'cpuJson')
  const perMb = of('storage-1mb', 'fastify-scale, form', 'cpuPerMb')
  const delivery = of('realtime-broadcast', 'fastify-scale, with history', 'cpuUs')
  const handshake = of('realtime-idle', 'fastify-scale, with history', 'cpuUs')
  const socketKb = of('realtime-idle', 'fastify-scale, with history', 'kbPerSocket')

  const requests = USERS / SECONDS_PER_REQUEST
  const uploads = requests * UPLOADS
  const own = requests * (1 - LISTS - UPLOADS)
  const rows = [
    [
      'lists of 20 KB from the cache, gzip, signed in',
      requests * LISTS,
      `${short(cached)} ([gzip](benchmarks.md#gzip-of-20-kb-of-json)) + ${short(auth)} ([auth](benchmarks.md#authentication-one-protected-route)) + ${short(launcher)} ([launcher](benchmarks.md#the-launcher-2-workers)) ms per 1,000`,
      (cached + auth + launcher) / 1e6,
    ],
    [
      "a user's own data, 4 KB, signed in",
      own,
      `${short(json)} (launcher) + ${short(auth)} (auth) ms per 1,000`,
      (json + auth) / 1e6,
    ],
    ["the app's own work for these", own, `${OWN_MS} ms: assumed, yours is what \`load\` measures`, OWN_MS / 1e3],
    [
      `uploads of ${UPLOAD_MB} MB`,
      uploads,
      `${short(perMb)} ms per MB ([uploads](benchmarks.md#uploads-of-1-mb-to-s3))`,
      (perMb * UPLOAD_MB) / 1e3,
    ],
    [
      `live messages, each upload to a room of ${ROOM}`,
      uploads * ROOM,
      `${short(delivery)} us ([broadcasts](benchmarks.md#realtime-broadcasts-to-500-clients))`,
      delivery / 1e6,
    ],
    [
      'sockets that come',
      USERS / SESSION_SECONDS,
      `${short(handshake)} us ([idle sockets](benchmarks.md#realtime-5000-idle-sockets))`,
      handshake / 1e6,
    ],
  ]
  const cores = rows.reduce((sum, [, perSecond, , cost]) => sum + perSecond * cost, 0)
  const needed = cores / RED_CPU
  const busy = Math.ceil(needed / CORES)
  const memory = (USERS * socketKb) / 1e6
  const fit = Math.ceil(memory / (MEMORY_GB * RED_MEMORY))
  const machines = Math.max(busy, fit) + 1
  const left = machines - 1
  const storm = (USERS / machines) * (handshake / 1e6)
  const spare = left * CORES - cores
  const text = `
A million people who have the page open at once, each with a socket and a request every ${SECONDS_PER_REQUEST} s, are ${whole(requests)} requests/s. Say ${whole(LISTS * 100)}% ask for what all see, ${UPLOADS * 100}% upload a picture, the rest ask for something of their own, and a visit takes ${SESSION_SECONDS / 60} minutes:

| what | per second | CPU each | cores |
|---|---:|---|---:|
${rows.map(([what, perSecond, each, cost]) => `| ${what} | ${whole(perSecond)} | ${each} | ${short(perSecond * cost)} |`).join('\n')}
| **together** | | | **${short(cores)}** |

- CPU: ${short(cores)} cores of work are ${short(needed)} cores at the red line of ${RED_CPU * 100}%, so ${busy} machines of ${CORES} cores.
- Memory: ${whole(USERS)} x ${short(socketKb)} KB ([idle sockets](benchmarks.md#realtime-5000-idle-sockets)) = ${short(memory)} GB of sockets; ${MEMORY_GB} GB at the red line of ${RED_MEMORY * 100}% hold ${short(MEMORY_GB * RED_MEMORY)} GB: ${fit} ${fit === 1 ? 'machine' : 'machines'}.
- **${machines} machines**: the larger of the two, and one more, so that any one may be gone. When one goes, its ${whole(USERS / machines)} sockets come back to the other ${left}: ${whole(USERS / machines)} x ${short(handshake)} us = ${whole(storm)} s of CPU, which the ${short(spare)} cores that are free then do in about ${whole(storm / spare)} s.
- A million *registered* users, of whom one in a hundred is there at the peak, are a hundredth of all that: ${short(cores / 100)} cores. Two machines, the second for when the first is gone.
- Redis: verifying takes none of it, and lists come from process memory. What remains is a refresh every ${TOKEN_SECONDS / 60} minutes, ${whole(USERS)} / ${TOKEN_SECONDS} = ${whole(USERS / TOKEN_SECONDS)} scripts/s, ${whole(uploads)} invalidations and ${whole(uploads)} messages/s, each of which goes to ${left * CORES} processes or more.
- PostgreSQL: ${whole(own)} queries/s of people's own data, if none is cached, and ${whole(uploads)} inserts/s. This is what more machines do not cure.

The figures are CPU time, from the machine that the page of benchmarks names; another core is faster or slower, and the ratio of \`load\`'s figure there to the one here is what to multiply by.
`
  const [before, , after] = page.split(MARK)
  if (after === undefined) throw new Error(`docs/production.md has not two lines '${MARK}'`)
  return [before, text, after].join(MARK)
}

export function readResults() {
  return JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8'))
}

export function writeCapacity() {
  writeFileSync(PAGE, withCapacity(readFileSync(PAGE, 'utf8'), readResults()))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeCapacity()
