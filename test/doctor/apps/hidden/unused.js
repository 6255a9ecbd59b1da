// Not loaded by the app: no cause of anything.
export const counts = new Map()
export const count = (name) => counts.set(name, (counts.get(name) ?? 0) + 1)
