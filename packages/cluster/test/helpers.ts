export {
  type FaultProxy,
  faultProxy,
  freePort,
  isAlive,
  killTree,
  type RedisServer,
  spawnGuarded,
  startRedis,
  waitFor,
} from '@fastify-scale/dev-services'
