import { ConfigError } from './errors.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** The value of a variable without surrounding blanks; undefined where it is unset or empty. */
export function text (env: Env, name: string): string | undefined {
  const value = env[name]?.trim()
  return value === '' ? undefined : value
}

export function integer (env: Env, name: string, { min, max, fallback }: { min: number, max: number, fallback: number }): number {
  const value = text(env, name)
  if (value === undefined) return fallback
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (!(number >= min && number <= max)) throw wrong(name, `a whole number from ${min} to ${max}`, value)
  return number
}

export function oneOf<const T extends string> (env: Env, name: string, values: readonly T[], fallback: T): T {
  const value = text(env, name)
  if (value === undefined) return fallback
  const found = values.find((candidate) => candidate === value)
  if (found === undefined) throw wrong(name, `one of ${values.join(', ')}`, value)
  return found
}

export function matching (env: Env, name: string, pattern: RegExp, what: string): string | undefined {
  const value = text(env, name)
  if (value !== undefined && !pattern.test(value)) throw wrong(name, what, value)
  return value
}

/**
 * A connection string, which may hold a password: its value is in no message. Nor is the parser's own error, which
 * quotes its input.
 */
export function secretUrl (env: Env, name: string, protocols: readonly string[], example: string): string | undefined {
  const value = text(env, name)
  if (value === undefined) return undefined
  const [protocol = ''] = value.split('://', 1)
  if (!protocols.includes(protocol) || value.length <= `${protocol}://`.length) {
    throw new ConfigError(`${name} must be a connection string such as ${example}`)
  }
  return value
}

export function wrong (name: string, what: string, value: string): Error {
  return new ConfigError(`${name} must be ${what}, not ${JSON.stringify(value)}`)
}
