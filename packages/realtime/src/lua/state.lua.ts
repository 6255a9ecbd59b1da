/**
 * Lua: `state(newEpoch, knownEpoch, knownSeq)` gives a room's epoch and last number, from the hash KEYS[1].
 *
 * A numbering begins when the room is first used, and again when Redis has lost data: the hash is gone, or its number is
 * below one that the caller has seen (an older snapshot, or a replica that lagged when it took over). The log, KEYS[2],
 * begins with it.
 */
export const LUA_STATE = `local function state(newEpoch, knownEpoch, knownSeq)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
  local epoch, seq = meta[1], tonumber(meta[2] or '0')
  if not epoch or (epoch == knownEpoch and seq < tonumber(knownSeq)) then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'epoch', newEpoch, 'seq', 0)
    return newEpoch, 0
  end
  return epoch, seq
end
`
