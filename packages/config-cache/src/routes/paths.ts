import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { asList, type Route } from './in-force.ts'
import { isSafe } from './rules.ts'

const LONGEST = 400
/** Of a route's path: an escaped colon, the wildcard, a parameter, or a text. */
const PIECE = /^(?:::|\*|:([^/\-.(?]+)\??|[^:*]+|:)/
/** What no other route has. That of each other path would be one of it. */
const CATCH_ALL = new Set(['*', '/*'])

/** A text, or a parameter, which may be missing with the slash before it. */
type Piece = { readonly text: string } | { readonly name: string, readonly mayMiss: boolean }

/** A path with cached responses. */
interface Cached {
  readonly url: string
  readonly pattern: RegExp
}

/**
 * Which paths have cached responses, and which routes change what they stand for without a word: a request that changes
 * something drops what is kept of its path (RFC 9111, section 4.4), be it of a route that calls its parameters by other names, or has none.
 */
export class Paths {
  readonly #cached = new Map<string, Cached>()
  readonly #undeclared = new Map<string, Set<string>>()
  readonly #pieces = new Map<string, readonly Piece[]>()

  noteCached (url: string): void {
    this.#cached.set(url, { url, pattern: this.#patternOf(url) })
  }

  /** Whether what a request is about may have cached responses. */
  isCached (request: FastifyRequest): boolean {
    if (this.#cached.size === 0) return false
    const { url = '' } = request.routeOptions
    if (this.#cached.has(url)) return true
    const path = this.#pathOf(request, '/')
    const escaped = this.#pathOf(request, '%2f')
    return [...this.#cached.values()].some((one) => !CATCH_ALL.has(one.url) && (one.pattern.test(path) || one.pattern.test(escaped)))
  }

  /** The tag of all that is kept of a path, whatever host, query, user or constraint it is for, and whichever route it has. */
  tagOf (request: FastifyRequest): string {
    const tag = `route:path:${this.#pathOf(request, '/')}`
    return tag.length <= LONGEST && /^[\x20-\x7e]*$/.test(tag) ? tag : `route:path:${createHash('sha256').update(tag).digest('base64url')}`
  }

  /** Notes a route that changes something and does not say what. */
  noteUndeclared ({ method, url }: Route): void {
    const methods = this.#undeclared.get(url) ?? new Set()
    this.#undeclared.set(url, methods)
    for (const name of asList(method)) if (!isSafe(name)) methods.add(name)
  }

  /** Those routes of them whose paths have cached responses, as `PUT /item/:id`. */
  get undeclared (): string[] {
    return [...this.#undeclared].filter(([url]) => this.#overlaps(url)).flatMap(([url, methods]) => [...methods].sort().map((method) => `${method} ${url}`))
  }

  #overlaps (url: string): boolean {
    if (this.#cached.has(url)) return true
    const pattern = this.#patternOf(url)
    const sample = this.#filled(url, () => 'x')
    return [...this.#cached.values()].some((one) => !CATCH_ALL.has(one.url) && (one.pattern.test(sample) || pattern.test(this.#filled(one.url, () => 'x'))))
  }

  /** The path of a request as the router read it. @param slash what stands for one within a parameter */
  #pathOf ({ routeOptions: { url = '' }, params }: FastifyRequest, slash: string): string {
    const values = params as Record<string, unknown> | undefined
    return this.#filled(url, (name) => String(values?.[name] ?? '').replaceAll('/', slash))
  }

  #filled (url: string, valueOf: (name: string) => string): string {
    return normalized(this.#piecesOf(url).map((piece) => 'text' in piece ? piece.text : valueOf(piece.name)).join(''))
  }

  #patternOf (url: string): RegExp {
    let source = ''
    for (const piece of this.#piecesOf(url)) {
      if ('text' in piece) source += escaped(normalizedText(piece.text))
      else if (!piece.mayMiss) source += '[^/]+'
      else source = source.replace(/\/?$/, (slash) => `(?:${slash}${piece.name === '*' ? '.*' : '[^/]+'})?`)
    }
    return new RegExp(`^${source.replace(/(?<=.)\/$/, '')}$`)
  }

  #piecesOf (url: string): readonly Piece[] {
    const known = this.#pieces.get(url) ?? split(url)
    this.#pieces.set(url, known)
    return known
  }
}

function split (url: string): Piece[] {
  const pieces: Piece[] = []
  for (let rest = url; rest !== '';) {
    const [found, name = found === '*' ? '*' : undefined] = PIECE.exec(rest)!
    rest = rest.slice(found.length)
    if (name !== undefined && rest.startsWith('(')) rest = behindExpression(rest)
    pieces.push(name === undefined ? { text: found === '::' ? ':' : found } : { name, mayMiss: name === '*' || found.endsWith('?') })
  }
  return pieces
}

/** What follows the regular expression of a parameter. */
function behindExpression (text: string): string {
  let open = 0
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === '(') open++
    else if (text[at] === ')' && --open === 0) return text.slice(at + 1)
  }
  return ''
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** Whatever the router may be told to pass over is passed over: paths that are taken for one are dropped together. */
const normalizedText = (text: string): string => text.toLowerCase().replaceAll(/\/{2,}/g, '/')
const normalized = (path: string): string => normalizedText(path).replace(/(?<=.)\/$/, '')
