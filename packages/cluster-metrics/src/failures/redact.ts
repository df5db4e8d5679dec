const SECRET_NAME = /secret|passw|passwd|pwd|token|credential|private|api_?key|auth|_key$|_uri$|_url$|^dsn$|_dsn$/i
const SHORTEST_SECRET = 6
const LONGEST_TEXT = 4000
const MARK = '[redacted]'

/** Shapes of secrets, wherever they come from. */
const SHAPES: Array<[RegExp, string]> = [
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, `$1${MARK}@`],
  [/\b(bearer|basic)\s+[\w.~+/=-]+/gi, `$1 ${MARK}`],
  [/\b(password|passwd|pwd|secret|token|api[_-]?key|authorization|cookie|session)(["']?\s*[:=]\s*["']?)[^\s"',;&]+/gi, `$1$2${MARK}`],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, MARK],
  [/[\w.+-]+@[\w-]+\.[\w.-]+/g, MARK],
  [/\b(?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])[\w+/=-]{32,}/gi, MARK]
]

/** Makes a text fit to be shown: values of secrets in this process' environment, and what looks like a secret, are gone. */
export function redact (text: string, env: NodeJS.ProcessEnv = process.env): string {
  let safe = text.slice(0, LONGEST_TEXT)
  for (const secret of secretsOf(env)) safe = safe.replaceAll(secret, MARK)
  for (const [shape, mark] of SHAPES) safe = safe.replace(shape, mark)
  return safe
}

/** The longest first: one may be part of another. */
function secretsOf (env: NodeJS.ProcessEnv): string[] {
  const secrets = new Set<string>()
  for (const [name, value] of Object.entries(env)) {
    if (!value || value.length < SHORTEST_SECRET) continue
    for (const password of passwordsIn(value)) secrets.add(password)
    if (SECRET_NAME.test(name)) secrets.add(value)
  }
  return [...secrets].sort((a, b) => b.length - a.length)
}

/** The password of a connection string, as it is written and as it is meant. */
function passwordsIn (value: string): string[] {
  const written = /^[a-z][a-z0-9+.-]*:\/\/[^/\s@:]*:([^/\s@]{3,})@/i.exec(value)?.[1]
  if (written === undefined) return []
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}
