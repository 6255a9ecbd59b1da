import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { startS3 } from '@fastify-scale/dev-services'
import { startServer, usage } from './http.mjs'

const file = new URL('../servers/storage.mjs', import.meta.url).pathname
const MB = 1_024 ** 2
const chunk = randomBytes(MB)
const BOUNDARY = 'bench-boundary'
const head = Buffer.from(
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`,
)
const tail = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)

/** Sends so many bytes as a form or as the body; resolves to 1 where it failed, else 0. */
function send(url, bytes, form) {
  const type = form ? `multipart/form-data; boundary=${BOUNDARY}` : 'application/octet-stream'
  const length = bytes + (form ? head.length + tail.length : 0)
  return new Promise((resolve) => {
    const req = request(
      url,
      { method: form ? 'POST' : 'PUT', agent: false, headers: { 'content-type': type, 'content-length': length } },
      (res) => res.resume().on('end', () => resolve(res.statusCode === 200 ? 0 : 1)),
    )
    req.on('error', () => resolve(1))
    if (form) req.write(head)
    let left = bytes
    const pump = () => {
      while (left > 0) {
        const next = left < MB ? chunk.subarray(0, left) : chunk
        left -= next.length
        if (!req.write(next)) return req.once('drain', pump)
      }
      req.end(form ? tail : undefined)
    }
    pump()
  })
}

/** S3 of the comparison's own. */
export async function setupS3() {
  const s3 = await startS3()
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = s3
  return {
    options: {
      endpoint,
      region,
      bucket,
      publicBaseUrl: 'http://cdn.example.test',
      credentials: { accessKeyId, secretAccessKey },
    },
    stop: () => s3.stop(),
  }
}

/**
 * One round: a fresh process, one small upload, after which it is idle, `warmup` uploads whose time is not counted, then `count`
 * uploads, `parallel` at a time. CPU is that of the process that takes the uploads; S3 and the sender are not in it.
 */
export async function uploadRound(options, kind, { bytes, count, parallel = 1, warmup = 0 }) {
  const server = await startServer([process.execPath, file], {
    env: { KIND: kind, OPTIONS: JSON.stringify(options), NODE_NO_WARNINGS: '1' },
  })
  const form = kind === 'form' || kind === 'recipe'
  try {
    let failures = await send(server.url, Math.min(bytes, MB), form)
    writeFileSync(`/proc/${server.pid}/clear_refs`, '5') // A new peak begins (proc(5)).
    const idle = peakMb(server.pid)
    const sendAll = async (left) => {
      const worker = async () => {
        while (left-- > 0) failures += await send(server.url, bytes, form)
      }
      await Promise.all(Array.from({ length: parallel }, worker))
    }
    await sendAll(warmup)
    const before = usage(server.pid)
    const start = performance.now()
    await sendAll(count)
    const ms = performance.now() - start
    const megabytes = (bytes * count) / MB
    return {
      failures,
      mbPerS: (megabytes * 1_000) / ms,
      cpuPerMb: ((usage(server.pid).cpu - before.cpu) * 1_000) / megabytes,
      ms: ms / count,
      peakMb: peakMb(server.pid) - idle,
    }
  } finally {
    await server.stop()
  }
}

function peakMb(pid) {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
}

const why =
  'On two cores that the sender, S3 and this process share, CPU is throughput: what ours does more is the SHA-256, the look at the type, and for a form the parser, as the rows beside it show.'

/** Uploads of one size, by ours and by hand. */
export function uploadComparison(megabytes, { count, parallel, warmup }) {
  const kinds = {
    'raw body + Upload': 'upload',
    'fastify-scale, form': 'form',
    '@fastify/multipart + Upload': 'recipe',
    'bare PutObject': 'put',
    'bare PutObject, hashed': 'put-hashed',
    'fastify-scale, raw body': 'raw',
  }
  return {
    title: `Uploads of ${megabytes} MB to S3`,
    question: `What does an upload cost in the process that takes it (CPU, memory over idle), and how fast is it, ${parallel === 1 ? 'one at a time' : `${parallel} at a time`}? The form is compared with the usual recipe of @fastify/multipart and Upload of @aws-sdk/lib-storage, and with Upload of the bare request body; our raw route with one PutObject of the bare body. Ours also tells the type from the content, limits, and hashes: 'hashed' is the PutObject with a SHA-256.`,
    note: 'The S3 server (Ceph, on the same disk and the same two cores) takes longer than the process that is measured, so that MB/s are mostly its figures, and noisy. Each process takes some uploads before the clock starts, which its peak memory counts: what is compared is not how fast it is compiled.',
    base: 'raw body + Upload',
    metrics: [
      { key: 'cpuPerMb', label: 'CPU ms per MB', better: 'low', chart: true },
      { key: 'mbPerS', label: 'MB/s', better: 'high', chart: true },
      { key: 'peakMb', label: 'peak memory over idle MB', better: 'low' },
    ],
    goals: [
      { metric: 'mbPerS', contender: 'fastify-scale, form', over: 'raw body + Upload', min: 0.9, why },
      { metric: 'mbPerS', contender: 'fastify-scale, raw body', over: 'bare PutObject', min: 0.9, why },
    ],
    setup: setupS3,
    contenders: ({ options }) =>
      Object.fromEntries(
        Object.entries(kinds).map(([name, kind]) => [
          name,
          () => uploadRound(options, kind, { bytes: megabytes * MB, count, parallel, warmup }),
        ]),
      ),
  }
}
