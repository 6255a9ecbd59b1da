import { expectTypeOf, test } from 'vitest'
import { startServices, waitFor } from '../src/index.ts'

test('the variables of the services asked for are strings, others are not there', async () => {
  const all = await startServices()
  expectTypeOf(all.env.REDIS_URL).toEqualTypeOf<string>()
  expectTypeOf(all.env.S3_BUCKET).toEqualTypeOf<string>()
  expectTypeOf(all.env.DATABASE_URL).toEqualTypeOf<string>()
  const some = await startServices({ s3: false, onProgress: (line) => line.length })
  expectTypeOf(some.env.REDIS_URL).toEqualTypeOf<string>()
  expectTypeOf(some.env.S3_BUCKET).toEqualTypeOf<string | undefined>()
})

test('waitFor gives the truthy part', () => {
  expectTypeOf(waitFor(() => 'x' as string | undefined)).resolves.toEqualTypeOf<string>()
})
