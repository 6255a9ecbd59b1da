import { Type } from '@fastify/type-provider-typebox'

const NAME = /^[A-Za-z0-9_.-]{2,40}$/

/**
 * What a user may be called: ASCII alone. Upper and lower case are one name, and of these letters JavaScript, PostgreSQL
 * in every locale, and the reader agree on which is which.
 */
export const Name = Type.String({ pattern: NAME.source })

export const isName = (text: string): boolean => NAME.test(text)

/** The names of a list with commas, each as `foldName` gives it. */
export const nameList = (text: string): string[] =>
  text
    .split(',')
    .map((name) => foldName(name.trim()))
    .filter((name) => name !== '')

/** The same for every way to write one name; what `lower()` is in the database. */
export const foldName = (name: string): string => name.toLowerCase()
