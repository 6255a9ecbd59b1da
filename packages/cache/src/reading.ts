import type { Guard } from './guard.ts'

/** A guard that is being read; `guard` is there as soon as the answer is. */
export class Reading {
  guard: Guard | undefined
  readonly done: Promise<Guard>

  constructor(done: Promise<Guard>) {
    this.done = done.then((guard) => (this.guard = guard))
    // For whoever looks; often nobody needs it.
    this.done.catch(() => undefined)
  }
}

/** The guards themselves: at once where all are there. */
export function allOf(asked: readonly (Guard | Reading)[]): Guard[] | Promise<Guard[]> {
  const guards: Guard[] = []
  for (const one of asked) {
    const guard = one instanceof Reading ? one.guard : one
    if (guard === undefined)
      return Promise.all(asked.map((each) => (each instanceof Reading ? each.done : Promise.resolve(each))))
    guards.push(guard)
  }
  return guards
}
