// Writes docs/errors.md and docs/options.md from the sources: every error by its code, every option where it is declared.
// With --check nothing is written; exits 1 where the pages are not what the sources say.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'

const packages = readdirSync('packages')
const read = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')

/** A docstring as one line of Markdown for a table. */
function text(comment = '') {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\/?\*+\/?/, '').replace(/\*\/\s*$/, ''))
    .join(' ')
    .replace(/\s+/g, ' ')
    .replaceAll('|', '\\|')
    .trim()
}

function errorsOf(name) {
  const source = read(`packages/${name}/src/errors.ts`)
  const pattern =
    /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export const \w+: ScaleErrorConstructor = createScaleError\(\s*'(SCALE_\w+)'(?:,\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)\s*(?:,\s*(\d+))?)?/g
  const found = [...source.matchAll(pattern)].map(([, comment, code, status = '500']) => ({
    code,
    status,
    meaning: text(comment),
  }))
  const declared = source.match(/'SCALE_\w+'/g)?.length ?? 0
  if (found.length !== declared)
    throw new Error(
      `packages/${name}/src/errors.ts: ${declared} codes, ${found.length} with a docstring right before them`,
    )
  return found
}

/** The names that a package exports, to leave out interfaces of its inside. */
function exportedFrom(name) {
  const index = read(`packages/${name}/src/index.ts`) + read(`packages/${name}/src/client.ts`)
  const stars = [...index.matchAll(/export \* from '\.\/([\w/-]+)\.ts'/g)].map(([, file]) => file)
  const names = new Set(
    [...index.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) =>
      list.split(',').map(
        (one) =>
          one
            .replace(/\btype\b/, '')
            .trim()
            .split(' ')[0],
      ),
    ),
  )
  return { names, stars }
}

function optionsOf(name) {
  const { names, stars } = exportedFrom(name)
  const files = readdirSync(`packages/${name}/src`, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.ts'))
    .sort()
  const interfaces = []
  for (const file of files) {
    const source = read(`packages/${name}/src/${file}`)
    for (const match of source.matchAll(
      /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?export interface (\w*Options|\w*Defaults|\w*Option|\w*Config)(?:<[^>]*>)?(?: extends ([\w<>, '|]+))? \{\n([\s\S]*?)\n\}/g,
    )) {
      const [, comment, title, parent, body] = match
      if (title.startsWith('Resolved') || !(names.has(title) || stars.includes(file.slice(0, -3)))) continue
      const members = [
        ...body.matchAll(
          /^ {2}(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*\n {2})?(?:readonly )?(\w+)(\?)?(?:\([^)]*\))?: (.+)$/gm,
        ),
      ].map(([, about, option, optional, type]) => ({
        option,
        optional: Boolean(optional),
        type: type.replace(/\s*\{$/, '{ … }').replaceAll('|', '\\|'),
        about: text(about),
      }))
      interfaces.push({ title, parent, about: text(comment), members })
    }
  }
  return interfaces
}

const head = (title) => `# ${title}\n\nMade from the sources by \`node scripts/reference.mjs\`; do not edit.\n`

const errorsPage = [
  head('Error codes'),
  'Every error of the suite has a `code` and a `statusCode`. Branch on the code; the message is for people.\n',
  ...packages.flatMap((name) => {
    const errors = errorsOf(name)
    if (errors.length === 0) return []
    return [
      `## ${name}\n`,
      '| code | status | meaning |',
      '|---|---|---|',
      ...errors.map(({ code, status, meaning }) => `| \`${code}\` | ${status} | ${meaning} |`),
      '',
    ]
  }),
].join('\n')

const optionsPage = [
  head('Options'),
  "Durations take milliseconds or text such as `'30s'`, `'5m'`; sizes take bytes or text such as `'25MB'`. A wrong value is refused at registration by an error that names the option.\n",
  ...packages
    .filter((name) => name !== 'kit')
    .flatMap((name) => {
      const interfaces = optionsOf(name)
      if (interfaces.length === 0) return []
      return [
        `## ${name}\n`,
        ...interfaces.flatMap(({ title, parent, about, members }) => [
          `### ${title}\n`,
          ...(about ? [`${about}\n`] : []),
          ...(parent ? [`Also all of \`${parent}\`.\n`] : []),
          '| option | type | meaning |',
          '|---|---|---|',
          ...members.map(
            ({ option, optional, type, about: meaning }) =>
              `| \`${option}\`${optional ? '' : ' (required)'} | \`${type}\` | ${meaning} |`,
          ),
          '',
        ]),
      ]
    }),
].join('\n')

let stale = 0
for (const [file, page] of [
  ['docs/errors.md', errorsPage],
  ['docs/options.md', optionsPage],
]) {
  if (read(file) === page) continue
  if (process.argv.includes('--check')) {
    stale++
    process.stderr.write(`${file} is not what the sources say: run node scripts/reference.mjs\n`)
  } else writeFileSync(file, page)
}
process.exitCode = stale > 0 ? 1 : 0
