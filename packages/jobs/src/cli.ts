#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { runCli } from '@fastify-scale/kit'
import { createProgram } from './program.ts'

const streams = {
  out: (text: string) => process.stdout.write(`${text}\n`),
  err: (text: string) => process.stderr.write(`${text}\n`),
}
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

process.exitCode = await runCli(createProgram(streams, version), process.argv.slice(2), streams)
