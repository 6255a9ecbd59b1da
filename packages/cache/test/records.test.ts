import { startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { Deadlines } from '../src/deadline.ts'
import { GuardBook } from '../src/guard.ts'
import { createKeySpace } from '../src/key.ts'
import { Masters } from '../src/masters.ts'
import { createRecords } from '../src/records.ts'

test('who waits for little does not join the reading of one who is patient', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  onTestFinished(() => redis.thaw())
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  await waitFor(() => client.status === 'ready')
  const book = new GuardBook()
  const masters = new Masters(client, 500, () => undefined)
  onTestFinished(() => masters.close())
  const over = (ms: number, patient: boolean) =>
    createRecords({ client, masters, deadlines: new Deadlines(ms), patient }, createKeySpace('test', false), book)
  const [patient, hasty] = [over(20_000, true), over(100, false)]
  // The server is known from now on.
  await patient.epoch.guard('k')
  redis.freeze()
  const outcomes: string[] = []
  const told = (who: string, asked: Promise<unknown>): Promise<void> =>
    asked.then(
      () => void outcomes.push(`${who} was answered`),
      () => void outcomes.push(`${who} gave up`),
    )
  // In one turn: that is when readings are joined.
  const waiting = [patient.tags.guards(['t']), patient.epoch.guard('k')].map((one) =>
    told('patient', Promise.resolve(one)),
  )
  await Promise.all(
    [hasty.tags.guards(['t']), hasty.epoch.guard('k')].map((one) => told('hasty', Promise.resolve(one))),
  )
  redis.thaw()
  await Promise.all(waiting)
  expect(outcomes).toEqual(['hasty gave up', 'hasty gave up', 'patient was answered', 'patient was answered'])
})
