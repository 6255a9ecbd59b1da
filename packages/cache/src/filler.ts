import { loadChannel, skipChannel } from './channels.ts'
import type { Engine, EngineKey, Fill } from './engine.ts'
import { KIND } from './entry.ts'
import { UnavailableError } from './errors.ts'
import { type Loaded, type Loader, Slots, runLoader } from './loader.ts'
import type { ResolvedEntryOptions, ResolvedOptions } from './options.ts'
import { isUnable } from './redis-port.ts'
import type { Packed, Packer } from './serializer.ts'
import { type Flight, Flights, type Outcome, type Result } from './single-flight.ts'
import { Successive } from './successive.ts'
import { tagsOf } from './tag-names.ts'

/** What a caller asks to be loaded. */
export interface LoadRequest {
  key: EngineKey
  /** The namespace that tags belong to. */
  path: string
  loader: Loader<unknown>
  times: ResolvedEntryOptions
  tags: readonly string[]
  /** When the caller asked, by `performance.now()`. */
  asked: number
}

export interface FillerParts {
  engine: Engine
  packer: Packer
  options: ResolvedOptions
  random: () => number
}

/** Runs loaders: once for all callers of this process, under the lease that makes it once in the cluster. */
export class Filler {
  private readonly engine: Engine
  private readonly packer: Packer
  private readonly options: ResolvedOptions
  private readonly random: () => number
  private readonly flights: Flights = new Flights()
  private readonly awayLoads: Successive<Result> = new Successive()
  private readonly slots: Slots

  constructor(parts: FillerParts) {
    this.engine = parts.engine
    this.packer = parts.packer
    this.options = parts.options
    this.random = parts.random
    this.slots = new Slots(parts.options.maxLoaders)
  }

  /**
   * Joins the load in flight, or begins one. `covered`: where it fails, a stale value is answered, which a cached error must
   * not replace. `late`: the loader was running already.
   */
  async join(
    request: LoadRequest,
    seen: Buffer | undefined,
    covered: boolean,
  ): Promise<{ outcome: Outcome; mine: boolean; late: boolean }> {
    const flying = this.flights.get(request.key.value)
    const late = flying?.loading ?? false
    const outcome = await (flying ?? this.start(request, seen, covered)).done
    return { outcome, mine: flying === undefined, late }
  }

  /** Begins a load that nobody waits for, unless one is in flight. */
  refresh(request: LoadRequest, seen: Buffer | undefined): void {
    if (this.flights.get(request.key.value)) return
    // Its outcome is for those who join it; a failure was published.
    this.start(request, seen, true).done.catch(() => undefined)
  }

  /** Loads for one caller, without the cache. Rejects with the loader's error. */
  async alone(request: LoadRequest): Promise<Result> {
    const loaded = await this.run(request, 'uncached')
    return this.resultOf(request, loaded)
  }

  /** Loads while Redis is away: callers of this process share loads, and only a few keys are loaded at a time. */
  away(request: LoadRequest): Promise<Result> {
    const key = request.key.value
    return (
      this.awayLoads.joinable(key, request.asked) ??
      this.awayLoads.add(key, (begin) =>
        this.slots.run(() => {
          begin()
          return this.alone(request)
        }),
      )
    )
  }

  /** What is stored for a packed value. Jitter only shortens. */
  fillOf(packed: Packed, ttl: number, times: ResolvedEntryOptions, tags: readonly string[]): Fill {
    const { staleWhileRevalidate, staleIfError } = packed.kind === KIND.error ? NO_STALE : times
    return {
      ...packed,
      tags,
      ttl: Math.max(1, ttl * (1 - this.options.jitter * this.random())),
      staleWhileRevalidate,
      staleIfError,
    }
  }

  private start(request: LoadRequest, seen: Buffer | undefined, covered: boolean): Flight {
    return this.flights.open(request.key.value, (flight) => this.fly(flight, request, seen, covered))
  }

  private async fly(
    flight: Flight,
    request: LoadRequest,
    seen: Buffer | undefined,
    covered: boolean,
  ): Promise<Outcome> {
    let begun: Awaited<ReturnType<Engine['begin']>>
    try {
      begun = await this.engine.begin(request.key, request.tags, seen)
    } catch (error) {
      return isUnable(error) ? { type: 'away' } : { type: 'failed', error }
    }
    if (begun.type === 'value') return { type: 'again' }
    if (begun.type === 'busy') return begun
    const { load } = begun
    flight.loading = true
    const started = performance.now()
    const told = (outcome: 'filled' | 'voided' | 'unconfirmed' | 'uncached' | 'failed'): void =>
      loadChannel.publish(() => ({ key: request.key.name, outcome, ms: performance.now() - started }))
    const loaded = await runLoader(request.loader, this.options.loaderTimeout)
    let fill: Fill | undefined
    try {
      fill = await this.fillFrom(request, loaded, covered)
    } catch (error) {
      load.abandon()
      told('failed')
      return { type: 'failed', error }
    }
    const entry = this.engine.entryOf(fill, load.reading)
    const result: Result = { entry }
    if (fill.ttl === 0) {
      load.abandon()
      told('uncached')
      return { type: 'uncached', result }
    }
    // What is checked now is checked for all who joined until now.
    this.flights.close(flight)
    try {
      const valid = await this.engine.parts.port.deadlines.guard(
        load.commit(entry, keepOf(fill)),
        () => new UnavailableError('Redis was too slow to store the value'),
      )
      told(valid ? 'filled' : 'voided')
      return valid ? { type: 'value', result } : { type: 'voided' }
    } catch {
      // Away, too slow, or out of memory: the value is good for who asked before the load began.
      told('unconfirmed')
      return { type: 'unconfirmed', result }
    }
  }

  /** What is to be stored; ttl 0 where nothing is. Throws the loader's error where that is not cached. */
  private async fillFrom(request: LoadRequest, loaded: Loaded, covered: boolean): Promise<Fill> {
    const { times } = request
    const tags = loaded.tags.length === 0 ? request.tags : [...request.tags, ...tagsOf(request.path, loaded.tags)]
    if (loaded.failed) {
      if (times.errorTtl === 0 || covered) throw loaded.error
      return this.fillOf(this.packer.packError(loaded.error), times.errorTtl, times, tags)
    }
    const packed = await this.packer.pack(loaded.value)
    const usual = packed.kind === KIND.null ? (times.nullTtl ?? times.ttl) : times.ttl
    const ttl = loaded.ttl ?? usual
    const fill = this.fillOf(packed, ttl, times, tags)
    if (packed.payload.length > this.options.maxValueSize) {
      skipChannel.publish(() => ({ key: request.key.name, bytes: packed.payload.length }))
      return { ...fill, ttl: 0 }
    }
    return ttl === 0 ? { ...fill, ttl: 0 } : fill
  }

  private async run(request: LoadRequest, outcome: 'uncached'): Promise<Loaded> {
    const started = performance.now()
    const loaded = await runLoader(request.loader, this.options.loaderTimeout)
    loadChannel.publish(() => ({
      key: request.key.name,
      outcome: loaded.failed ? 'failed' : outcome,
      ms: performance.now() - started,
    }))
    return loaded
  }

  private async resultOf(request: LoadRequest, loaded: Loaded): Promise<Result> {
    if (loaded.failed) throw loaded.error
    const fill = this.fillOf(await this.packer.pack(loaded.value), 0, request.times, request.tags)
    return { entry: this.engine.entryOf(fill, 0) }
  }
}

const NO_STALE = { staleWhileRevalidate: 0, staleIfError: 0 }

/** How long Redis keeps an entry, in ms: until nothing may be answered from it. */
export function keepOf(fill: Fill): number {
  return fill.ttl + Math.max(fill.staleWhileRevalidate, fill.staleIfError)
}
