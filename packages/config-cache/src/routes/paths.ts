import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { canonical } from '../values.ts'
import { asList, type Route } from './in-force.ts'
import { isSafe } from './rules.ts'

const LONGEST = 400

/** The tag of all that is kept of a path, whatever host, query, user or constraint it is for. */
export function pathTag ({ routeOptions: { url = '' }, params }: FastifyRequest): string {
  const names = params as Record<string, unknown> | undefined
  const tag = names === undefined || Object.keys(names).length === 0 ? `route:path:${url}` : `route:path:${url} ${canonical(names)}`
  return tag.length <= LONGEST && /^[\x20-\x7e]*$/.test(tag) ? tag : `route:path:${createHash('sha256').update(tag).digest('base64url')}`
}

/**
 * Which paths have cached responses, and which routes change what they stand for without a word: a request that changes
 * something drops what is kept of its path (RFC 9111, section 4.4).
 */
export class Paths {
  readonly #cached = new Set<string>()
  readonly #undeclared = new Map<string, Set<string>>()

  noteCached (url: string): void {
    this.#cached.add(url)
  }

  isCached (url: string): boolean {
    return this.#cached.has(url)
  }

  /** Notes a route that changes something and does not say what. */
  noteUndeclared ({ method, url }: Route): void {
    const methods = this.#undeclared.get(url) ?? new Set()
    this.#undeclared.set(url, methods)
    for (const name of asList(method)) if (!isSafe(name)) methods.add(name)
  }

  /** Those routes of them whose paths have cached responses, as `PUT /item/:id`. */
  get undeclared (): string[] {
    return [...this.#undeclared].filter(([url]) => this.#cached.has(url)).flatMap(([url, methods]) => [...methods].sort().map((method) => `${method} ${url}`))
  }
}
