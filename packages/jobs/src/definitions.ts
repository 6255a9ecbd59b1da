import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { DefineError, InvalidDataError, OptionError } from './errors.ts'
import type { ResolvedJob } from './options.ts'
import type { Sandboxed } from './sandbox.ts'
import type { JobHandler } from './types.ts'

/** One kind of job. */
export interface Definition extends ResolvedJob {
  readonly name: string
  readonly queue: string
  /** @throws SCALE_JOBS_INVALID_DATA */
  readonly check: (data: unknown) => void
  /** Exactly one of the two. */
  readonly handler: JobHandler<unknown, unknown> | undefined
  readonly sandbox: Sandboxed | undefined
}

export interface Definitions {
  add(definition: Definition): void
  get(name: string): Definition | undefined
  /** The queues that any definition is of. */
  queues(): string[]
  /** From now on nothing can be added: the workers have begun. */
  seal(): void
}

/** @param known the names of the queues that there are */
export function createDefinitions(known: readonly string[]): Definitions {
  const definitions = new Map<string, Definition>()
  let sealed = false
  return {
    add(definition) {
      const { name, queue } = definition
      if (sealed) throw new DefineError(`job '${name}' must be defined before the service is ready`)
      if (definitions.has(name)) throw new DefineError(`job '${name}' is defined twice`)
      if (!known.includes(queue))
        throw new OptionError(`job '${name}' is of queue '${queue}'; option 'queues' has ${known.join(', ')}`)
      definitions.set(name, definition)
    },
    get: (name) => definitions.get(name),
    queues: () => [...new Set([...definitions.values()].map(({ queue }) => queue))],
    seal() {
      sealed = true
    },
  }
}

/** @throws SCALE_JOBS_OPTION */
export function checkName(name: unknown): string {
  if (typeof name === 'string' && /^[\w-]+(\.[\w-]+)*$/.test(name) && name.length <= 200) return name
  throw new OptionError(
    `a job's name must be like 'images.resize': words of letters, digits, '-' and '_', joined by dots; '${String(name)}' is not`,
  )
}

/** Compiles a job's schema. @throws SCALE_JOBS_OPTION */
export function createCheck(name: string, schema: object | undefined): (data: unknown) => void {
  if (schema === undefined) return () => undefined
  const ajv = new Ajv({ strict: false, allErrors: false })
  addFormats.default(ajv)
  let validate: ValidateFunction
  try {
    validate = ajv.compile(schema)
  } catch (error) {
    throw new OptionError(`the schema of job '${name}' is wrong: ${(error as Error).message}`)
  }
  return (data) => {
    if (validate(data)) return
    const [error] = validate.errors ?? []
    throw new InvalidDataError(
      `the data of job '${name}' ${[error?.instancePath, error?.message].filter(Boolean).join(' ')}`,
    )
  }
}
