/**
 * Lua: the `iat` of a token that is issued now, in s; wants `t` (TIME), `now` (ms) and `cut` (s), sets `iat`.
 *
 * `iat` has a resolution of one second and `iat <= cut-off` is revoked, so that a token of the same second as a cut-off
 * gets the next one. One second ahead is all that is ever given, so that a later cut-off can tell what it must reach;
 * where that is not enough, the caller waits for the second to end.
 */
export const LUA_ISSUED_AT = `local iat = math.max(tonumber(t[1]), cut + 1)
if iat > t[1] + 1 then return {'wait', 1000 - now % 1000} end
`
