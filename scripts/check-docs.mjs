// Checks the pages against the repository: every link leads somewhere, every file that a page names is there, every test
// that a table of guarantees names is one that runs, every command and flag of ours is one that its help knows,
// the capacity is what the measured figures make it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { readResults, withCapacity } from '../bench/capacity.mjs'

const folders = [...readdirSync('packages').map((name) => `packages/${name}`), 'dev-services', 'example-app']
const pages = [
  ...readdirSync('.').filter((name) => name.endsWith('.md')),
  ...readdirSync('docs').map((name) => `docs/${name}`),
  ...folders.map((folder) => `${folder}/README.md`),
  ...readdirSync('deploy', { recursive: true }).map((name) => `deploy/${String(name)}`),
].filter((page) => page.endsWith('.md') && existsSync(page))
const problems = []
const counts = { pages: pages.length, links: 0, tests: 0, commands: 0 }

const withoutCode = (text) => text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')

/** The anchors of a page, as GitHub makes them. */
function anchorsOf(file) {
  return readFileSync(file, 'utf8')
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .split('\n')
    .filter((line) => /^#{1,6} /.test(line))
    .map((line) =>
      line
        .replace(/^#+ /, '')
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(/\s/g, '-'),
    )
}

function checkLinks(page, text) {
  for (const [, target] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue
    counts.links++
    const [path, anchor] = target.split('#')
    const file = path === '' ? page : join(dirname(page), path)
    if (!existsSync(file)) problems.push(`${page}: ${target} is not there`)
    else if (anchor) {
      const read = statSync(file).isDirectory() ? join(file, 'README.md') : file
      if (!anchorsOf(read).includes(anchor)) problems.push(`${page}: ${target} has no such heading`)
    }
  }
}

/** Tests are named from the page's folder, or from the root. */
function checkTests(page, text) {
  const named = text.matchAll(/(?<![\w/.-])((?:\.\.\/)*[\w./-]*test\/[\w./-]+\.test(?:-d)?\.ts)/g)
  for (const [, name] of named) {
    counts.tests++
    if (![join(dirname(page), name), name].some((file) => existsSync(file)))
      problems.push(`${page}: there is no test ${name}`)
  }
  for (const line of text.split(/^(?=## )/m)) {
    if (!/^## (Guarantees|Promises)/.test(line)) continue
    for (const row of line.split('\n').filter((one) => /^\|.*\|$/.test(one) && !/^\|[\s|-]*\|$|^\| *\|/.test(one)))
      if (!/\.test(-d)?\.ts\b|README\.md#/.test(row) && !/^\|[^|]*\| (attacked by|tests?) \|$/.test(row))
        problems.push(`${page}: a promise without a test: ${row}`)
  }
}

const COMMANDS = Object.fromEntries(
  folders.flatMap((folder) =>
    Object.entries(JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).bin ?? {}).map(([name, file]) => [
      name,
      join(folder, file),
    ]),
  ),
)
const helps = new Map()
function helpOf(...words) {
  const key = words.join(' ')
  if (!helps.has(key)) {
    const { status, stdout } = spawnSync(process.execPath, [...words, '--help'], { encoding: 'utf8' })
    helps.set(key, status === 0 ? stdout : '')
  }
  return helps.get(key)
}

/** What stands in code and begins with one of our commands. */
function checkCommands(page, text) {
  const code = [...text.matchAll(/^```[^\n]*\n([\s\S]*?)^```/gm), ...text.matchAll(/`([^`\n]+)`/g)].map(
    ([, one]) => one,
  )
  for (const line of code.flatMap((one) => one.split('\n'))) {
    const found = /^\s*(?:\$ )?(?:npx )?(fastify-scale[a-z-]*) ([a-z]+)( [a-z]+)?([^#|]*)/.exec(line)
    const [, command, word, second = '', rest] = found ?? []
    if (!COMMANDS[command]) continue
    counts.commands++
    const cli = COMMANDS[command]
    const twoWords = helpOf(cli).includes(`${command} ${word}${second} `) && second !== ''
    const words = twoWords ? [word, second.trim()] : [word]
    if (!helpOf(cli).includes(`${command} ${words.join(' ')}`)) {
      problems.push(`${page}: '${command} ${words.join(' ')}' is no command`)
      continue
    }
    const help = helpOf(cli, ...words)
    for (const [flag] of rest.matchAll(/--[a-z][a-z-]*/g))
      if (!help.includes(flag)) problems.push(`${page}: '${command} ${words.join(' ')}' has no ${flag}`)
  }
}

for (const page of pages) {
  const text = readFileSync(page, 'utf8')
  checkLinks(page, text)
  checkTests(page, text)
  checkCommands(page, text)
}
const production = readFileSync('docs/production.md', 'utf8')
if (withCapacity(production, readResults()) !== production)
  problems.push('docs/production.md: the capacity is not what bench/results.json says: run node bench/capacity.mjs')

for (const problem of problems) process.stderr.write(`✗ ${relative('.', problem)}\n`)
process.stdout.write(
  `docs: ${counts.pages} pages, ${counts.links} links, ${counts.tests} tests named, ${counts.commands} commands; ${problems.length} wrong\n`,
)
process.exitCode = problems.length > 0 ? 1 : 0
