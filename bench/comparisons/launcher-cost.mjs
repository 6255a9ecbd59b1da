import { APPS } from '../lib/apps.mjs'
import { costOver } from '../lib/launcher-cost.mjs'
import { SILENT, SILENT_ONLY } from '../lib/launcher-round.mjs'

const paths = { hello: '/', json: '/json' }
const CONTROL = 'node:cluster, once more'
const UNASKED = 'fastify-scale over no logger'
const UNASKED_ONLY = `${UNASKED}, no metrics`
const LEFT =
  "fastify-scale gives an application that does not say a logger, which logs no request; Fastify adds two listeners to each response wherever there is one (a cluster with Fastify's logger has them too)."

const NOISE = 'node:cluster over itself differs as much from round to round.'

const goals = (contender, max, why = NOISE) =>
  Object.keys(paths).map((metric) => ({ metric, contender, max, unit: 'x', why }))

export default {
  title: 'The launcher: cost over node:cluster',
  question: `How much CPU does a request take over bare node:cluster, which is 1? Hello world and a JSON list of 3 KB, one worker, 64 kept-alive connections each; CPU of all server processes. Both are loaded in the same two seconds, after three to warm up; every round starts them anew, twice: in one order and in the other. How far one start differs from the next shows the row of node:cluster over itself. The same application with the same logger on both sides: none, or Fastify's; and the launcher's default over none.`,
  base: CONTROL,
  metrics: [
    { key: 'hello', label: 'hello world, x', better: 'low' },
    { key: 'json', label: 'JSON, x', better: 'low', chart: true },
  ],
  goals: [
    ...goals(SILENT_ONLY, 1.02),
    ...goals(SILENT, 1.05),
    ...goals('fastify-scale, no metrics', 1.02),
    ...goals('fastify-scale', 1.05),
    ...goals(UNASKED_ONLY, 1.02, LEFT),
    ...goals(UNASKED, 1.05, LEFT),
  ],
  contenders() {
    const over = (base, kind, app) => () => costOver([base, {}], [kind, app ? { app } : {}], { paths, workers: 1 })
    return {
      [CONTROL]: over('bare', 'bare'),
      [SILENT_ONLY]: over('bare', 'ours', APPS.silent),
      [SILENT]: over('bare', 'ours-metrics', APPS.silent),
      'fastify-scale, no metrics': over('bare-logger', 'ours'),
      'fastify-scale': over('bare-logger', 'ours-metrics'),
      [UNASKED_ONLY]: over('bare', 'ours'),
      [UNASKED]: over('bare', 'ours-metrics'),
    }
  },
}
