import type { ResolvedOptions } from './options.ts'

/** Waits until Redis's messages about a change have reached the memory of every process. */
export async function settle(options: ResolvedOptions): Promise<void> {
  const ms = options.l1?.settle ?? 0
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}
