import { FST_ERR_WS_NAMESPACES_INVALID_NAME } from '../errors.ts'
import { isName, MOST_CHARACTERS } from '../ids.ts'

const LITERAL = /^[A-Za-z0-9._-]{1,100}$/
const PARAMETER = /^:[A-Za-z_][A-Za-z0-9_]{0,50}$/

/** What the parameters of a pattern stand for, decoded. */
export type Params = Readonly<Record<string, string>>

/** The parameters of a name by its text: `rooms/:id` has `{ id: string }`. Of a name whose text TypeScript does not know there may be any. */
export type ParamsOf<Name extends string> = string extends Name ? Params : Readonly<Record<ParameterOf<Name>, string>>
type ParameterOf<Name extends string> =
  Name extends `${infer First}/${infer Rest}` ? ParameterOf<First> | ParameterOf<Rest> : Name extends `:${infer Parameter}` ? Parameter : never

/** How two patterns lie to each other, by what they match. */
export type Relation = 'apart' | 'narrower' | 'wider' | 'ambiguous'

/** The name of a namespace as it is created: `chat`, or with parameters, `rooms/:id`. */
export class NamePattern {
  readonly pattern: string
  readonly isDynamic: boolean
  readonly #segments: string[]

  /** @throws FST_ERR_WS_NAMESPACES_INVALID_NAME */
  constructor (pattern: unknown) {
    if (typeof pattern !== 'string') throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must be a string')
    this.pattern = pattern
    this.#segments = pattern.split('/')
    if (!this.#segments.every((segment) => LITERAL.test(segment) || PARAMETER.test(segment))) {
      throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must be segments joined with "/", each of A-Z a-z 0-9 . _ - or a parameter ":id"')
    }
    if (pattern.length > MOST_CHARACTERS) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME(`may have ${MOST_CHARACTERS} characters at most`)
    if (pattern === 'stats') throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must not be "stats", which is a route')
    if (isParameter(this.#segments[0]!)) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must not begin with a parameter')
    if (new Set(this.parameters).size < this.parameters.length) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('has two parameters of one name')
    this.isDynamic = this.parameters.length > 0
  }

  /** Names of the parameters, in order. */
  get parameters (): string[] {
    return this.#segments.filter(isParameter).map((segment) => segment.slice(1))
  }

  /** The parameters where the decoded segments of a path fit; null where they do not. A segment is one whatever it contains. */
  match (segments: readonly string[]): Params | null {
    if (segments.length !== this.#segments.length) return null
    const params: Record<string, string> = Object.create(null)
    for (const [index, wanted] of this.#segments.entries()) {
      const given = segments[index]!
      if (!isParameter(wanted)) {
        if (wanted !== given) return null
      } else if (given === '') return null
      else params[wanted.slice(1)] = given
    }
    return Object.freeze(params)
  }

  /** The segments that parameters make; null where one is missing or cannot be part of a name. */
  fill (params: Params): string[] | null {
    const segments = this.#segments.map((segment) => isParameter(segment) ? (Object.hasOwn(params, segment.slice(1)) ? params[segment.slice(1)] : undefined) : segment)
    return isPath(segments) ? segments : null
  }

  /** `narrower` where all that this one matches is matched by the other, and more. */
  relationTo (other: NamePattern): Relation {
    if (other.#segments.length !== this.#segments.length) return 'apart'
    let [narrower, wider] = [false, false]
    for (const [index, one] of this.#segments.entries()) {
      const two = other.#segments[index]!
      if (isParameter(one) && !isParameter(two)) wider = true
      else if (!isParameter(one) && isParameter(two)) narrower = true
      else if (!isParameter(one) && one !== two) return 'apart'
    }
    return narrower === wider ? 'ambiguous' : narrower ? 'narrower' : 'wider'
  }
}

function isParameter (segment: string): boolean {
  return segment.startsWith(':')
}

function isPath (segments: ReadonlyArray<string | undefined>): segments is string[] {
  return segments.every((segment) => typeof segment === 'string' && segment !== '') && isName(segments.join('/'))
}

/**
 * Segments in one text, different ones for different segments: joined with `/`. A segment that contains a slash itself, or could
 * be taken for a parameter, stands URL-encoded after an empty one: `rooms//7%2Fstaff`. No other segment is empty.
 */
export function formatName (segments: readonly string[]): string {
  return segments.map((segment) => segment.includes('/') || PARAMETER.test(segment) ? `/${encodeURIComponent(segment)}` : segment).join('/')
}

/** The segments of such a text; null where it is none. */
export function parseName (text: string): string[] | null {
  const parts = text.split('/')
  const segments: string[] = []
  try {
    for (let index = 0; index < parts.length; index++) segments.push(parts[index] === '' ? decodeURIComponent(parts[++index] ?? '') : parts[index]!)
  } catch {
    return null
  }
  return isPath(segments) && formatName(segments) === text ? segments : null
}

/** The decoded segments of a path; null where it cannot be decoded or is no name. */
export function decodePath (path: string): string[] | null {
  try {
    const segments = path.split('/').map(decodeURIComponent)
    return isPath(segments) ? segments : null
  } catch {
    return null
  }
}
