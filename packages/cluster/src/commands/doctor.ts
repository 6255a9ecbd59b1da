import { readFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import { dirname } from 'node:path'
import { type CliCommand, CliError } from '@fastify-scale/kit'
import { type Diagnosis, diagnose } from '../doctor/doctor.ts'
import { CURES } from '../doctor/findings.ts'
import type { ProbeRequest } from '../doctor/messages.ts'
import { ANSWER_WITHIN, type Probe, startProbe } from '../doctor/probe-process.ts'
import { packageRoot, resolveApp } from '../primary/app-path.ts'
import { integer, noMore, print, text } from './common.ts'

const TIMEOUT_MS = 60_000

export const doctor: CliCommand = {
  summary: 'find what makes an app stateful: run it several times over and compare',
  usage: 'doctor <app> [--requests file.json] [--workers N] [--json]',
  options: { requests: { type: 'string' }, workers: { type: 'string', short: 'w' }, json: { type: 'boolean' } },
  help: {
    requests:
      'requests to replay: [{ "method", "url", "headers", "body" }]; those that change something are really sent',
    workers: 'how many processes to compare; default 3',
    json: 'print the findings as JSON',
  },
  async run({ values, positionals }) {
    noMore(positionals, 1)
    const [app] = positionals
    if (app === undefined) throw new CliError("which app? fastify-scale doctor <path of the app's module>", 2)
    const workers = integer(values, 'workers') ?? 3
    if (workers < 2 || workers > 16) throw new CliError(`--workers must be from 2 to 16, but is ${workers}`, 2)
    const file = resolveApp(app, process.cwd())
    const root = packageRoot(file) ?? dirname(file)
    const recorded = readRequests(text(values, 'requests'))
    const probes: Probe[] = []
    try {
      // One after another: what runs once in the whole cluster (migrations) is not the question here.
      for (let i = 0; i < workers; i++)
        probes.push(await startProbe({ app: file, root, cwd: process.cwd(), timeout: TIMEOUT_MS, env: process.env }))
      const diagnosis = await diagnose(probes, recorded, root)
      print(values['json'] === true ? JSON.stringify(diagnosis, null, 2) : reportOf(diagnosis))
      return diagnosis.findings.length > 0 ? 1 : 0
    } finally {
      await Promise.all(probes.map((probe) => probe.stop()))
    }
  },
}

function readRequests(file: string | undefined): ProbeRequest[] {
  if (file === undefined) return []
  let list: unknown
  try {
    list = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new CliError(`--requests ${file}: ${(error as Error).message}`, 2)
  }
  if (!Array.isArray(list) || !list.every(isRequest))
    throw new CliError(`--requests ${file} must hold a list of { "method", "url", "headers", "body" }`, 2)
  return list.map((request) => ({ ...request, method: request.method?.toUpperCase() }))
}

function isRequest(value: unknown): value is ProbeRequest {
  if (typeof value !== 'object' || value === null) return false
  const { method, url, headers = {} } = value as Partial<ProbeRequest>
  if (typeof url !== 'string' || !url.startsWith('/')) return false
  if (method !== undefined && !(typeof method === 'string' && METHODS.includes(method.toUpperCase()))) return false
  return (
    typeof headers === 'object' && headers !== null && Object.values(headers).every((one) => typeof one === 'string')
  )
}

function reportOf({ findings, notCompared, refused, requests, workers }: Diagnosis): string {
  const asked = `${requests} requests to ${workers} workers`
  const notes = [
    ...notCompared.map((one) => `- ${one} was not compared: no whole answer within ${ANSWER_WITHIN / 1_000} s\n`),
    ...refused.map((one) => `- ${one.replace(': ', ' was refused with ')}: record what it wants in --requests\n`),
    ...(requests === 0
      ? ['- nothing was asked: no route is a GET without parameters; record some in --requests\n']
      : []),
  ]
  if (findings.length === 0) return `${notes.join('')}✓ nothing stateful found (${asked})`
  const rows = findings.flatMap(({ kind, message, at, candidates }) => [
    `✗ ${message}${at ? `  (${at})` : ''}`,
    ...(candidates?.length ? [`    it may be kept at: ${candidates.join(', ')}`] : []),
    `    cure: ${CURES[kind]}`,
  ])
  return `${rows.join('\n')}\n${notes.join('')}${findings.length} ${findings.length === 1 ? 'finding' : 'findings'} (${asked})`
}
