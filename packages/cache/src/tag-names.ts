import { show } from '@fastify-scale/kit'
import { OptionError } from './errors.ts'
import { encodeKey } from './key.ts'

/** The most tags of one entry. */
const MOST_TAGS = 128

/**
 * The user's tags as they are stored: with their namespace, each once.
 *
 * @throws SCALE_CACHE_OPTION where one is not a text of at least one character, or there are more than 128
 */
export function tagsOf(path: string, tags: string | readonly string[] | undefined): string[] {
  if (tags === undefined) return []
  const list = typeof tags === 'string' ? [tags] : tags
  if (!Array.isArray(list)) throw new OptionError(`tags must be a text or an array of texts, but are ${show(tags)}`)
  const named = new Set<string>()
  for (const tag of list as readonly unknown[]) {
    if (typeof tag !== 'string' || tag === '')
      throw new OptionError(`a tag must be a text of at least one character, but is ${show(tag)}`)
    named.add(`${path}:${encodeKey(tag)}`)
  }
  if (named.size > MOST_TAGS)
    throw new OptionError(`there may be at most ${MOST_TAGS} tags, but there are ${named.size}`)
  return [...named]
}

// No tag of a user's begins like these: theirs begin with a namespace or with a colon.

/** Carried by everything in a namespace. */
export function namespaceTag(path: string): string {
  return `#${path}`
}

/** Carried by what a versioned cache holds under a key, so that deleting it reaches every version. */
export function versionTag(path: string, encodedKey: string): string {
  return `=${path}:${encodedKey}`
}
