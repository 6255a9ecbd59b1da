// Runs all suites on other versions of Node.js, which npx fetches: pnpm test:nodes [22 24 26] [--project auth]…
// One version after the other; what the tests start runs on that version too. A line each, exits 1 where one failed.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { project: { type: 'string', multiple: true, default: [] } },
})
const versions = positionals.length > 0 ? positionals : ['22', '24', '26']
const vitest = join(root, 'node_modules/vitest/vitest.mjs')

/** The count before a word in vitest's line of tests. */
const count = (text, word) => Number(new RegExp(`^ *Tests .*?(\\d+) ${word}`, 'm').exec(text)?.[1] ?? 0)

// A copy that every user may run, as some tests do for another: npx keeps its own in the home directory.
const bin = mkdtempSync(join(tmpdir(), 'fastify-scale-nodes-'))
chmodSync(bin, 0o755)
process.on('exit', () => rmSync(bin, { recursive: true, force: true }))
const node = join(bin, 'node')

for (const version of versions) {
  const fetched = execFileSync('npx', ['--yes', `node@${version}`, '-p', 'process.execPath'], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  copyFileSync(fetched, node)
  const full = execFileSync(node, ['-v'], { encoding: 'utf8' }).trim()
  const start = performance.now()
  const { status, stdout } = spawnSync(
    node,
    [vitest, 'run', ...values.project.flatMap((name) => ['--project', name])],
    {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', PATH: `${bin}:${process.env.PATH}` },
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    },
  )
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map((word) => count(stdout, word))
  // No test at all is no success.
  const well = status === 0 && passed > 0
  if (!well) {
    process.stdout.write(stdout)
    process.exitCode = 1
  }
  const seconds = Math.round((performance.now() - start) / 1_000)
  process.stdout.write(`Node ${full}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s\n`)
}
