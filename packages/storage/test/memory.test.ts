import { type ChildProcess, fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { ScaleStorageOptions, StoredFile } from '../src/index.ts'
import { sendForm, useS3 } from './helpers.ts'

// The full figures are seen with SOAK=1; the default run shows that memory does not follow the size or the number.
const SOAK = process.env['SOAK'] === '1'
const MB = 1_024 ** 2
const s3 = useS3()

async function startServer(overrides: Partial<ScaleStorageOptions>): Promise<{ url: string; child: ChildProcess }> {
  const child = fork(
    fileURLToPath(new URL('fixtures/server.mjs', import.meta.url)),
    [JSON.stringify(s3.options({ maxBytes: '2GB', ...overrides }))],
    { execArgv: [] },
  )
  s3.later(async () => {
    if (child.exitCode === null && child.kill()) await once(child, 'exit')
  })
  const [url] = (await once(child, 'message')) as [string]
  return { url, child }
}

/** Peak resident memory since the last reset, in MB. */
function peak({ pid }: ChildProcess): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
}

/** Begins a new peak (proc(5), clear_refs). */
function resetPeak({ pid }: ChildProcess): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

const chunk = randomBytes(MB)

/** Sends so many MB over a connection, made as they go. */
async function upload(url: string, megabytes: number): Promise<{ file: StoredFile; sha256: string }> {
  const hash = createHash('sha256')
  const { answer } = sendForm(url, async (write) => {
    for (let sent = 0; sent < megabytes; sent++) {
      chunk.writeUInt32BE(sent)
      const part = Buffer.from(chunk)
      hash.update(part)
      await write(part)
    }
  })
  const { status, body } = await answer
  expect(status, body).toBe(200)
  return { file: JSON.parse(body) as StoredFile, sha256: hash.digest('hex') }
}

test('memory does not follow the size of an upload', { timeout: 300_000 }, async () => {
  const megabytes = SOAK ? 1_024 : 150
  const { url, child } = await startServer({})
  await upload(url, 1)
  resetPeak(child)
  const idle = peak(child)
  const { file, sha256 } = await upload(url, megabytes)
  const over = peak(child) - idle
  console.info(`one upload of ${megabytes} MB: ${over.toFixed(0)} MB over ${idle.toFixed(0)} MB idle`)
  expect(file).toMatchObject({ size: megabytes * MB, sha256 })
  // Parts are let go of when garbage is collected, which a busy machine puts off.
  expect(over).toBeLessThan(120)
})

test('memory does not follow the number of uploads', { timeout: 300_000 }, async () => {
  const megabytes = SOAK ? 20 : 6
  // More than there are slots: the rest waits, with its bytes in the network.
  const { url, child } = await startServer({ slotTimeout: '5m' })
  await upload(url, 1)
  resetPeak(child)
  const idle = peak(child)
  const results = await Promise.all(Array.from({ length: 50 }, () => upload(url, megabytes)))
  const over = peak(child) - idle
  console.info(`50 uploads of ${megabytes} MB at once: ${over.toFixed(0)} MB over ${idle.toFixed(0)} MB idle`)
  for (const { file, sha256 } of results) expect(file).toMatchObject({ size: megabytes * MB, sha256 })
  expect(over).toBeLessThan(250)
})
