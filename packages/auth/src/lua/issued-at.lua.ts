/**
 * Lua: the `iat` of a token that is issued now, in s; wants `t` (TIME), `now` (ms), `cut` (s) and `limit` (s), sets `iat`.
 *
 * `iat` has a resolution of one second and `iat <= cut-off` is revoked, so that a token of the same second as a cut-off
 * gets the next one. One second ahead is all that is ever given, so that a later cut-off can tell what it must reach;
 * where that is not enough, the caller waits for the second to end.
 *
 * `limit` is one second ahead of when the cut-off for all was read: one that moves after that is no lower, and reaches
 * the token, however much later this runs.
 */
export const LUA_ISSUED_AT = `local iat = math.max(math.min(tonumber(t[1]), limit), cut + 1)
if iat > math.min(t[1] + 1, limit) then return {'wait', 1000 - now % 1000} end
`
