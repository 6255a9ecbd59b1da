import { expect, test } from 'vitest'
import { type WorkerSpec, specToEnv, takeSpec } from '../src/worker/spec.ts'

const spec: WorkerSpec = {
  app: '/app.js',
  id: 1,
  slot: 0,
  generation: 0,
  role: 'web',
  count: 2,
  name: 'app',
  startTimeout: 1_000,
  logLevel: 'info',
  requestLog: false,
  shed: false,
  metrics: true,
  jobsApart: false,
}

test.each([
  ['web', false, 'all'],
  ['web', true, 'web'],
  ['jobs', true, 'jobs'],
])('role %s, jobs apart %s: the app is told %s, so that somebody does the jobs', (role, jobsApart, told) => {
  expect(specToEnv({ ...spec, role, jobsApart })['FASTIFY_SCALE_ROLE']).toBe(told)
})

test('what a worker is told is taken out of its environment', () => {
  const env: NodeJS.ProcessEnv = specToEnv(spec)
  expect(takeSpec(env)).toEqual(spec)
  expect(takeSpec(env)).toBeUndefined()
})
