// Runs the suites on other versions of Node.js, which npx fetches: node scripts/node-versions.mjs [22 24 26] [--project auth]…
// One project after the other; what the tests start runs on that version too. Prints a table, exits 1 where one failed.
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { project: { type: 'string', multiple: true } },
})
const versions = positionals.length > 0 ? positionals : ['22', '24', '26']
const projects = values.project ?? [...readdirSync(join(root, 'packages')), 'dev-services', 'example-app', 'test']
const vitest = join(root, 'node_modules/vitest/vitest.mjs')

/** The count before a word in vitest's line of tests. */
const count = (text, word) => Number(new RegExp(`^ *Tests .*?(\\d+) ${word}`, 'm').exec(text)?.[1] ?? 0)

const rows = []
for (const version of versions) {
  const node = execFileSync('npx', ['--yes', `node@${version}`, '-p', 'process.execPath'], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  const full = execFileSync(node, ['-v'], { encoding: 'utf8' }).trim()
  for (const project of projects) {
    const start = performance.now()
    const { status, stdout } = spawnSync(node, [vitest, 'run', '--project', project], {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', PATH: `${dirname(node)}:${process.env.PATH}` },
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    if (status !== 0) process.stdout.write(stdout)
    const row = { node: full, project, passed: count(stdout, 'passed'), failed: count(stdout, 'failed'), status }
    rows.push({ ...row, seconds: Math.round((performance.now() - start) / 1_000) })
    process.stdout.write(`${full} ${project}: ${row.passed} passed, ${row.failed} failed\n`)
  }
}
console.table(rows)
process.exitCode = rows.every(({ status, passed }) => status === 0 && passed > 0) ? 0 : 1
