import { posix } from 'node:path'

const REFERENCE = /(url\(\s*)(["']?)([^"')\s]+)\2(\s*\))|(@import\s+)(["'])([^"']+)\6/g

/**
 * Puts new names into the `url(…)` and `@import` of a style sheet.
 *
 * @param name the sheet's own path, which relative references start from
 * @param newName the new path of a file of the directory, or undefined to leave the reference as it is
 */
export function rewriteCss(
  name: string,
  css: string,
  newName: (file: string) => string | undefined,
): { css: string; references: string[] } {
  const references: string[] = []
  const from = posix.dirname(name)
  const rewrite = (reference: string): string => {
    if (/^([a-z][a-z0-9+.-]*:|\/|#)/i.test(reference)) return reference
    const [, path = '', rest = ''] = /^([^?#]*)(.*)$/.exec(reference) ?? []
    const file = posix.normalize(posix.join(from, safeDecode(path)))
    references.push(file)
    const renamed = newName(file)
    return renamed === undefined ? reference : `${encodeURI(posix.relative(from, renamed))}${rest}`
  }
  const rewritten = css.replace(
    REFERENCE,
    (
      whole: string,
      open: string | undefined,
      quote = '',
      reference = '',
      close = '',
      atImport: string | undefined,
      importQuote = '',
      imported = '',
    ) => {
      if (open !== undefined) return `${open}${quote}${rewrite(reference)}${quote}${close}`
      if (atImport !== undefined) return `${atImport}${importQuote}${rewrite(imported)}${importQuote}`
      return whole
    },
  )
  return { css: rewritten, references }
}

function safeDecode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
