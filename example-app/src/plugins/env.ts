import fastifyEnv from '@fastify/env'
import fp from 'fastify-plugin'
import { Env, describeProblems } from '../env.ts'

declare module 'fastify' {
  interface FastifyInstance {
    config: Env
  }
}

export default fp(async (app) => {
  const problems = describeProblems(process.env)
  if (problems) throw Object.assign(new Error(problems), { code: 'BOARD_ENVIRONMENT' })
  // An empty variable is one that is not set: its default holds.
  const data = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ''))
  await app.register(fastifyEnv, { schema: Env, confKey: 'config', data, env: false })
})
