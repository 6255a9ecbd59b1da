#!/usr/bin/env node
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CliError, type CliProgram, type CliStreams, parseDuration, runCli } from '@fastify-scale/kit'
import { createKeyFile, readKeyFile, replaceKeyFile } from './key-file.ts'
import { listKeys, newKey, rotate } from './rotation.ts'
import { type Algorithm, isAlgorithm } from './signature.ts'

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>

const ALG_HELP = 'RS256 (default; the cheapest to verify), PS256, ES256 or EdDSA'

/** The command `fastify-scale-auth`. */
export function createProgram(streams: CliStreams): CliProgram {
  return {
    name: 'fastify-scale-auth',
    summary: "makes and rotates the keys of scaleAuth's tokens",
    version: (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
      .version,
    commands: {
      'keys new': {
        summary: 'writes a new key set with one key, active now',
        usage: 'keys new <file> [--alg RS256]',
        options: { alg: { type: 'string' } },
        help: { alg: ALG_HELP },
        async run({ values, positionals }) {
          const path = onlyFile(positionals)
          const now = new Date()
          const key = await newKey(algorithmOf(values), now, now)
          await createKeyFile(path, { keys: [key] })
          streams.out(`${path}: key ${key.kid} (${key.alg}) is active`)
        },
      },
      'keys rotate': {
        summary: 'adds the next key and removes those that no live token needs',
        usage: 'keys rotate <file> [--active-in 1h] [--keep 25h] [--alg RS256]',
        options: { 'active-in': { type: 'string' }, keep: { type: 'string' }, alg: { type: 'string' } },
        help: {
          'active-in':
            'when it begins to sign; until then every process and every service must have learned of it (default 1h)',
          keep: 'how long a key stays after its successor began: at least accessTokenTtl and --active-in (default 25h)',
          alg: 'default: that of the newest key',
        },
        async run({ values, positionals }) {
          const path = onlyFile(positionals)
          const now = new Date()
          const activeIn = durationOf(values, 'active-in', '1h')
          const keep = durationOf(values, 'keep', '25h')
          const lines: string[] = []
          await replaceKeyFile(path, async (jwks) => {
            const newest = listKeys(jwks, now.getTime())[0]?.jwk.alg
            const next = await newKey(algorithmOf(values, newest), new Date(now.getTime() + activeIn), now)
            const result = rotate(jwks, next, keep, now.getTime())
            lines.push(`${path}: key ${next.kid} (${next.alg}) is published and becomes active at ${next.activeFrom}`)
            for (const kid of result.removed) lines.push(`${path}: key ${kid} is removed`)
            return result.jwks
          })
          for (const line of lines) streams.out(line)
        },
      },
      'keys replace': {
        summary: 'for a key that leaked: a new key now, all others gone and their tokens refused',
        usage: 'keys replace <file> [--alg RS256]',
        options: { alg: { type: 'string' } },
        help: { alg: 'default: that of the newest key' },
        async run({ values, positionals }) {
          const path = onlyFile(positionals)
          const now = new Date()
          const lines: string[] = []
          await replaceKeyFile(path, async (jwks) => {
            const key = await newKey(algorithmOf(values, listKeys(jwks, now.getTime())[0]?.jwk.alg), now, now)
            for (const { kid } of jwks.keys) lines.push(`${path}: key ${kid} is removed`)
            lines.push(`${path}: key ${key.kid} (${key.alg}) is active`)
            return { keys: [key] }
          })
          for (const line of lines) streams.out(line)
        },
      },
      'keys list': {
        summary: 'shows the keys and where each is in its life',
        usage: 'keys list <file>',
        async run({ positionals }) {
          for (const { jwk, state } of listKeys(await readKeyFile(onlyFile(positionals)), Date.now()))
            streams.out(`${String(jwk.kid)}  ${String(jwk.alg)}  ${state}  from ${jwk.activeFrom ?? 'always'}`)
        },
      },
    },
  }
}

function onlyFile(positionals: string[]): string {
  const [path] = positionals
  if (path === undefined || positionals.length > 1) throw new CliError('name one file, for example keys.json', 2)
  return path
}

function algorithmOf(values: Values, fallback = 'RS256'): Exclude<Algorithm, 'HS256'> {
  const alg = values['alg'] ?? fallback
  if (!isAlgorithm(alg) || alg === 'HS256') throw new CliError(`--alg must be ${ALG_HELP}, but is ${String(alg)}`, 2)
  return alg
}

function durationOf(values: Values, name: string, fallback: string): number {
  const fail = (message: string): Error => new CliError(message, 2)
  return parseDuration((values[name] as string | undefined) ?? fallback, { name: `--${name}`, min: 0, fail })
}

// Run as a command, also through the link in node_modules/.bin; imported by tests without running.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const streams: CliStreams = { out: (line) => console.log(line), err: (line) => console.error(line) }
  process.exitCode = await runCli(createProgram(streams), process.argv.slice(2), streams)
}
