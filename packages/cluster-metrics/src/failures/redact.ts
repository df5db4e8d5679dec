import { textOf } from '@jpulse/plugin-kit'
import { isSecretName, isWeakName } from './secret-names.ts'

const SHORTEST_SECRET = 6
const LONGEST_TEXT = 4000
const MARK = '[redacted]'

/** What is a secret by its looks, whatever stands before it. */
const SHAPES: Array<[RegExp, string]> = [
  [/-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|CERTIFICATE)(?: BLOCK)?-----[^]*?(?:-----END [A-Z0-9 ]{0,60}-----|$)/g, MARK],
  // A password may have @ and / in it: what is between the scheme and the last @ goes.
  [/([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@"'<>]*:(?!\d{1,5}[/\s])[^\s"'<>]*@/gi, `$1${MARK}@`],
  [/([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/"'<>]*@/gi, `$1${MARK}@`],
  [/\b(authorization|cookie)(\\*["']?\s*[:=]\s*)[^\r\n]+/gi, `$1$2${MARK}`],
  [/\b(bearer|basic|digest|token)\s+(?=\S*[\d=._~+/-])[\w.~+/=-]{6,}/gi, `$1 ${MARK}`],
  [/(hooks\.slack\.com\/services|discord(?:app)?\.com\/api\/webhooks)\/[\w/-]+/gi, `$1/${MARK}`],
  [/\beyJ[\w-]+(?:\.[\w-]*){0,4}/g, MARK],
  [/\b(?:A3T|AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{12,}\b/g, MARK],
  [/\b(?:gh[pousr]_|github_pat_|glpat-|gldt-|xox[a-z]-|xapp-|[srp]k_(?:live|test)_|whsec_|sk-|AIza|ya29\.|npm_|pypi-|dop_v1_|shp(?:at|ss|ca|pa)_|SG\.|hf_|hvs\.|AGE-SECRET-KEY-|lin_api_|figd_|EAAC|key-)[\w.-]{10,}/g, MARK],
  [/\$(?:2[abxy]?|argon2(?:id|i|d)|scrypt|pbkdf2[\w-]*|5|6|y)\$[\w./+=$,-]{10,}/g, MARK],
  [/[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[a-z]{2,24}\b/gi, MARK],
  [/\b(?:\d[ -]?){12,18}\d\b/g, MARK]
]

/** A name, what separates it from its value, and the value: as code, JSON (escaped too), URLs (encoded too), headers, flags and XML have them. */
const PAIR = /(--?)?(?:\b|(?<=%[0-9a-f]{2}))([A-Za-z][\w.-]{0,80})((?:\\*["'`\]]|%22)?\s*(?:=>|[:=]|%3[AD])\s*|(?<=--[\w-]{1,80})\s+)(?:(\\*["'`]|%22)((?:(?!\4)[^\r\n])*)(\4)?|([^\s"'`,;&<>)}\]|]+))/gi
/** `Password=two words;`, as connection strings have it. */
const CONNECTION = /\b([A-Za-z][\w ]{0,40}?)(\s?=\s?)([^;="'\r\n]{1,200})(?=;)/g
const XML = /<([A-Za-z][\w:.-]{0,80})([^<>]{0,200})>([^<>]+)</g
/** `the password is "x"`, `password hunter2`. */
const SAID = /\b(pass(?:word|phrase|code|wd)?|secret|token|api key)(\s+(?:is|was|of|for)?\s*)(?:(["'`])([^"'`\r\n]+)\3|(?=\S*\d)([^\s"'`,;)]+))/gi
const WORD = /[\w+/=~-]{16,}/g
/** How Kubernetes ends the names of pods, and Google's and Microsoft's the names of its nodes: ids of instances are made of them. */
const NAME_END = /-(?:[bcdf-hj-np-tv-xz2456789]{8,10}-[bcdf-hj-np-tv-xz2456789]{5}|[0-9a-f]{8}-[0-9a-z]{4}|\d{8}-vmss[0-9a-z]{6})$/

/** Makes a text fit to be shown: values of secrets in this process' environment, and what looks like a secret, are gone. */
export function redact (text: string, env: NodeJS.ProcessEnv = process.env): string {
  // What was cut in the middle may be the first half of a secret.
  let safe = text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT).replace(/\S*$/, '…') : text
  for (const secret of secretsOf(env)) safe = safe.replaceAll(secret, MARK)
  for (const [shape, mark] of SHAPES) safe = safe.replace(shape, mark)
  safe = safe.replace(CONNECTION, (pair, name: string, separator: string, value: string) => isSecret(name, value) ? `${name}${separator}${MARK}` : pair)
  safe = safe.replace(XML, (element, name: string, attributes: string, value: string) => isSecret(name, value) ? `<${name}${attributes}>${MARK}<` : element)
  safe = withoutPairs(safe)
  safe = safe.replace(SAID, (_said, name: string, between: string, quote = '') => `${name}${between}${quote}${MARK}${quote}`)
  return safe.replace(WORD, (word) => isRandom(word.replace(NAME_END, '')) ? MARK : word)
}

/** What is no secret is looked at again from its value on: `Error: password: x`, or a URL in the query of another one. */
function withoutPairs (text: string): string {
  let safe = ''
  let copied = 0
  PAIR.lastIndex = 0
  for (let found = PAIR.exec(text); found !== null; found = PAIR.exec(text)) {
    const [pair, , name, , open = '', quoted, close = '', plain = ''] = found
    const value = quoted ?? plain
    const end = found.index + pair.length - close.length
    const begin = end - value.length
    if (isSecret(name!, value)) {
      safe += text.slice(copied, begin) + MARK
      copied = end
    } else {
      PAIR.lastIndex = Math.max(begin, found.index + 1 + open.length)
    }
  }
  return safe + text.slice(copied)
}

/** An error of the application, fit for a log. */
export function redactError (err: unknown): Error {
  const { name, message, stack, code } = (err ?? {}) as { name?: unknown, message?: unknown, stack?: unknown, code?: unknown }
  const safe = new Error(redact(textOf(message ?? err)))
  if (typeof name === 'string') safe.name = redact(name)
  safe.stack = typeof stack === 'string' ? redact(stack) : `${safe.name}: ${safe.message}`
  return code === undefined ? safe : Object.assign(safe, { code: redact(textOf(code)) })
}

/** A copy of JSON whose texts are fit to be shown; those with the name of a secret are gone. */
export function redactJson (value: unknown): unknown {
  if (typeof value === 'string') return redact(value)
  if (Array.isArray(value)) return value.map(redactJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, typeof one === 'string' && isSecret(name, one) ? MARK : redactJson(one)]))
}

/** A name that is also a common word, such as `session`, makes a secret only of what does not look like a word. */
function isSecret (name: string, value: string): boolean {
  if (value === '' || value.includes(MARK)) return false
  return isSecretName(name) || (isWeakName(name) && value.length >= 6 && /\d|[^\w\s.,-]/.test(value))
}

/** Letters and digits that no word, path or version has: they change from kind to kind all the time. */
function isRandom (word: string): boolean {
  // A path: what is between its slashes is looked at alone.
  if (/^[^+=]*\/[^+=]*$/.test(word)) return word.split('/').some((part) => part.length >= 20 && isRandom(part))
  const kinds = [...word.replace(/[^A-Za-z0-9]/g, '')].map((char) => char <= '9' ? 'digit' : char <= 'Z' ? 'upper' : 'lower')
  const has = (kind: typeof kinds[number]) => kinds.includes(kind)
  if (!has('digit') || kinds.every((kind) => kind === 'digit')) return false
  const changes = kinds.filter((kind, index) => index > 0 && kind !== kinds[index - 1]).length / kinds.length
  if (has('upper') && has('lower')) return word.length >= 20 && changes > 0.25
  return word.length >= 32 ? changes > 0.1 : word.length >= 20 && changes > 0.3 && !/[-_]/.test(word)
}

/** Names in every environment that only look like those of secrets. */
const HARMLESS = new Set(['PWD', 'OLDPWD'])

/** Reading the environment takes six times as long as the rest, and errors come in storms. */
const READ_EVERY_MS = 100
let read = { at: -Infinity, secrets: [] as string[] }

function secretsOf (env: NodeJS.ProcessEnv): string[] {
  if (env !== process.env) return secretsIn(env)
  if (performance.now() - read.at >= READ_EVERY_MS) read = { at: performance.now(), secrets: secretsIn(env) }
  return read.secrets
}

/** The longest first: one may be part of another. */
function secretsIn (env: NodeJS.ProcessEnv): string[] {
  const secrets = new Set<string>()
  for (const [name, value] of Object.entries(env)) {
    if (!value || value.length < SHORTEST_SECRET || HARMLESS.has(name)) continue
    for (const password of passwordsIn(value)) secrets.add(password)
    if (isSecretName(name) || /_(?:key|uri|url|dsn)$|^dsn$/i.test(name)) secrets.add(value)
  }
  return [...secrets].sort((a, b) => b.length - a.length)
}

/** The password of a connection string, as it is written and as it is meant. */
function passwordsIn (value: string): string[] {
  const written = /^[a-z][a-z0-9+.-]*:\/\/[^/\s@:]*:(\S{3,})@/i.exec(value)?.[1]
  if (written === undefined) return []
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}
