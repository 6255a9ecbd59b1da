import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { collect } from './launcher.ts'

const MODULE = fileURLToPath(new URL('../dist/primary/small-heap.js', import.meta.url))

/** A process that holds little, and that little only for a while, as the launcher does with workers: its peak in MB. */
async function peak(first: string): Promise<number> {
  const script = `
    import { keepHeapSmall } from ${JSON.stringify(MODULE)}
    ${first}
    const held = []
    let peak = 0
    globalThis.gc()
    for (let i = 0; i < 4_000; i++) {
      held.push(Array.from({ length: 200 }, (_, j) => ({ i, j, list: [i] })))
      if (held.length > 8) held.shift()
      for (let j = 0; j < 600; j++) ({ j, list: [j] })
      await new Promise((resolve) => setImmediate(resolve))
      peak = Math.max(peak, process.memoryUsage().heapTotal)
    }
    console.log(peak / 1_048_576)`
  const args = ['--expose-gc', '--max-semi-space-size=1', '--input-type=module', '-e', script]
  const { code, out, err } = await collect(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return Number(out)
}

const LIMIT = 13
/** Node 24 sometimes, and Node 26 always, collects it in time by itself. */
const [MAJOR = 0] = process.versions.node.split('.').map(Number)

test('what was held for a while is collected before it piles up', async () => {
  expect(await peak('keepHeapSmall()')).toBeLessThan(LIMIT)
})

test.skipIf(MAJOR >= 24)("by V8's defaults it piles up: the flag is needed", async () => {
  expect(await peak('')).toBeGreaterThan(LIMIT)
})
