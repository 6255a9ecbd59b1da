/**
 * Reads all values and the id of the last change at one moment. KEYS: hash of values, stream of changes.
 * Returns `{flat list of the hash, id}`; the id is '0-0' where the stream is empty.
 */
export const SNAPSHOT: string = `local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return { redis.call('HGETALL', KEYS[1]), last[1] and last[1][1] or '0-0' }
`
