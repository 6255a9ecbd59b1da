const DAY = '(?:mon|tue|wed|thu|fri|sat|sun)'
const LONG_DAY = '(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)'
const MONTH = '(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)'
const TIME = '(\\d{2}):(\\d{2}):(\\d{2})'
const FIXDATE = new RegExp(`^${DAY}, (\\d{2}) ${MONTH} (\\d{4}) ${TIME} gmt$`, 'i')
const RFC850 = new RegExp(`^${LONG_DAY}, (\\d{2})-${MONTH}-(\\d{2}) ${TIME} gmt$`, 'i')
const ASCTIME = new RegExp(`^${DAY} ${MONTH} ([ \\d]\\d) ${TIME} (\\d{4})$`, 'i')
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/**
 * Reads an HTTP-date (RFC 9110, 5.6.7) in one of its three forms, as ms since 1970; in any case of letters, but nothing
 * else that `Date.parse` would take. `undefined` where it is none.
 *
 * @param now decides the century of a year of two digits: at most 50 years ahead
 */
export function parseHttpDate(text: string | undefined, now: number = Date.now()): number | undefined {
  if (text === undefined) return undefined
  let match = FIXDATE.exec(text)
  if (match) return utc(match[3], match[2], match[1], match[4], match[5], match[6])
  match = ASCTIME.exec(text)
  if (match) return utc(match[6], match[1], match[2], match[3], match[4], match[5])
  match = RFC850.exec(text)
  if (!match) return undefined
  const thisYear = new Date(now).getUTCFullYear()
  let year = Math.floor(thisYear / 100) * 100 + Number(match[3])
  if (year > thisYear + 50) year -= 100
  return utc(String(year), match[2], match[1], match[4], match[5], match[6])
}

function utc(...[year, month, day, hour, minute, second]: (string | undefined)[]): number {
  return Date.UTC(
    Number(year),
    MONTHS.indexOf((month ?? '').toLowerCase()),
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  )
}
