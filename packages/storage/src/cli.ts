#!/usr/bin/env node
import { runCli } from '@fastify-scale/kit'
import { storageProgram } from './program.ts'

process.exitCode = await runCli(
  storageProgram(process.env, (line) => console.log(line)),
  process.argv.slice(2),
)
