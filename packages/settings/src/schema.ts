import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { InvalidValueError, OptionError, UnknownSettingError } from './errors.ts'

/** A JSON Schema of one setting; TypeBox types are such. It must have a `default`. */
export type SettingSchema =
  | { readonly default?: unknown; readonly [keyword: string]: unknown }
  // What TypeBox makes; its interfaces have no index signature.
  | object

/** Schemas by setting, or one schema of `type: 'object'` whose properties are the settings (TypeBox's `Type.Object`). */
export type SettingsSchema =
  | Readonly<Record<string, SettingSchema>>
  | { readonly type: 'object'; readonly properties: Readonly<Record<string, SettingSchema>> }

/** What is known of one setting. */
export interface Definition {
  readonly key: string
  /** Frozen. */
  readonly default: unknown
  /**
   * Reads a value's JSON, checks it and freezes it.
   *
   * @throws SCALE_SETTINGS_INVALID
   */
  parse(json: string): unknown
}

/** The settings by name, with a null prototype. */
export type Definitions = Readonly<Record<string, Definition>>

/** @throws SCALE_SETTINGS_OPTION */
export function defineSettings(schema: SettingsSchema): Definitions {
  if (typeof schema !== 'object' || schema === null)
    throw new OptionError("option 'schema' must be an object with a JSON Schema for each setting")
  const properties = (schema.type === 'object' ? schema['properties'] : schema) as Record<string, SettingSchema>
  const ajv = new Ajv({ strict: false, allErrors: false })
  addFormats.default(ajv)
  const definitions = Object.create(null) as Record<string, Definition>
  for (const [key, value] of Object.entries(properties ?? {})) definitions[key] = define(ajv, key, value)
  if (Object.keys(definitions).length === 0) throw new OptionError("option 'schema' has no settings")
  return Object.freeze(definitions)
}

/** @throws SCALE_SETTINGS_UNKNOWN */
export function definitionOf(definitions: Definitions, key: string): Definition {
  const definition = definitions[key]
  if (definition) return definition
  throw new UnknownSettingError(`there is no setting '${key}'; known are ${Object.keys(definitions).join(', ')}`)
}

/**
 * A value as JSON, which is how every process gets it.
 *
 * @throws SCALE_SETTINGS_INVALID where JSON can't carry it or it is larger than `maxSize` bytes
 */
export function toJson(key: string, value: unknown, maxSize: number): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new InvalidValueError(`setting '${key}' can't be written as JSON: ${(error as Error).message}`)
  }
  if (json === undefined)
    throw new InvalidValueError(`setting '${key}' can't be ${typeof value}: JSON has no such value`)
  const size = Buffer.byteLength(json)
  if (size > maxSize)
    throw new InvalidValueError(`setting '${key}' is ${size} bytes of JSON; option 'maxSize' allows ${maxSize}`)
  return json
}

function define(ajv: Ajv, key: string, schema: SettingSchema): Definition {
  if (typeof schema !== 'object' || schema === null)
    throw new OptionError(`setting '${key}' must have a JSON Schema, but has ${String(schema)}`)
  const { default: value } = schema as { default?: unknown }
  if (value === undefined)
    throw new OptionError(
      `setting '${key}' needs a 'default' in its schema: it applies until somebody sets the setting`,
    )
  let validate: ValidateFunction
  try {
    validate = ajv.compile(schema)
  } catch (error) {
    throw new OptionError(`the schema of setting '${key}' is wrong: ${(error as Error).message}`)
  }
  // Its answer is a promise, which would be taken for yes.
  if ('$async' in validate) throw new OptionError(`the schema of setting '${key}' must not be asynchronous ('$async')`)
  const parse = (json: string): unknown => {
    let value: unknown
    try {
      value = JSON.parse(json)
    } catch {
      throw new InvalidValueError(`setting '${key}' is not JSON`)
    }
    if (validate(value)) return freeze(value)
    const [error] = validate.errors ?? []
    throw new InvalidValueError(
      `setting '${key}' ${error?.instancePath ?? ''} ${error?.message ?? 'is not valid'}`.replace('  ', ' '),
    )
  }
  try {
    return { key, default: parse(JSON.stringify(value)), parse }
  } catch (error) {
    throw new OptionError(`the default of ${(error as Error).message}`)
  }
}

/** A caller's change to an object must not reach other readers. */
function freeze(value: unknown): unknown {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) freeze(inner)
    Object.freeze(value)
  }
  return value
}
