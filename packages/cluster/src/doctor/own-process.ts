import { syncBuiltinESMExports } from 'node:module'

/**
 * Makes what the process says of its memory change from one time to the next by some kB, as it does in a process that is
 * at work: an answer that holds it must not look like one that each worker has for itself.
 */
export function blurMemory(): void {
  const { memoryUsage } = process
  const blur = (bytes: number): number => bytes + Math.floor(Math.random() * 65_536)
  const blurred = (): NodeJS.MemoryUsage =>
    Object.fromEntries(
      Object.entries(memoryUsage()).map(([name, bytes]) => [name, blur(bytes)]),
    ) as unknown as NodeJS.MemoryUsage
  process.memoryUsage = Object.assign(blurred, { rss: () => blur(memoryUsage.rss()) })
  syncBuiltinESMExports()
}
