// @ts-expect-error -- it comes without types
import calculateSlot from 'cluster-key-slot'

/** The slot of a key in a Redis Cluster, from 0 to 16383: of its hash tag, where it has one. */
export const slotOf: (key: string) => number = calculateSlot as (key: string) => number
