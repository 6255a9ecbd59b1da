import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeExchange } from './exchange.ts'
import { createPair } from './pair.ts'
import { today } from './release.ts'

// Every suite on every version is `pnpm test:nodes`; here each version runs every plugin, beside this one.
const own = process.versions.node.split('.')[0] as string
const versions = ['20', '22', '24', '26'].filter((version) => version !== own)

describe.each(versions)('Node %s', (version) => {
  const pair = createPair()
  let node: string
  beforeAll(async () => {
    // From the root, where .npmrc lets npx fetch without asking.
    node = execFileSync('npx', ['--yes', `node@${version}`, '-p', 'process.execPath'], { encoding: 'utf8', cwd: today })
    await pair.open({ old: { root: today }, new: { root: today, node: node.trim() } })
  }, 240_000)
  afterAll(() => pair.close(), 60_000)

  test('is what runs it', () => {
    const found = execFileSync(node.trim(), ['-p', 'process.versions.node'], { encoding: 'utf8' })
    expect(found.split('.')[0]).toBe(version)
  })
  describeExchange(`Node ${own} beside Node ${version}`, pair)
})
