const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

const IMF = /^[a-z]{3}, (?<day>\d\d) (?<month>[a-z]{3}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) gmt$/i
const RFC_850 = /^[a-z]{6,9}, (?<day>\d\d)-(?<month>[a-z]{3})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) gmt$/i
const ASCTIME = /^[a-z]{3} (?<month>[a-z]{3}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/i

/**
 * Milliseconds since 1970 of a date in one of the three formats of HTTP (RFC 9110, section 5.6.7), NaN for anything else.
 * `Date.parse` would take what other caches take for invalid, and so for expired.
 */
export function httpDate (value: unknown): number {
  const text = String(value).trim()
  const { day, month, year, time } = (IMF.exec(text) ?? RFC_850.exec(text) ?? ASCTIME.exec(text))?.groups ?? {}
  const index = MONTHS.indexOf(String(month).toLowerCase())
  if (time === undefined || index < 0) return NaN
  const [hours, minutes, seconds] = time.split(':').map(Number) as [number, number, number]
  return Date.UTC(fullYear(year!), index, Number(day), hours, minutes, seconds)
}

/** Two digits that would be more than 50 years ahead mean the last century. */
function fullYear (year: string): number {
  if (year.length === 4) return Number(year)
  const present = new Date().getUTCFullYear()
  const guess = present - present % 100 + Number(year)
  return guess > present + 50 ? guess - 100 : guess
}
