import type { FastifyReply, FastifyRequest } from 'fastify'
import { FST_ERR_CONFIG_CACHE_INVALID_CONDITION, FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED } from '../errors.ts'
import { isUnchanged } from '../routes/conditions.ts'
import { versionOf, type Versions } from '../versions.ts'

/** A list of entity tags (RFC 9110, 8.8.3), or `*`. */
const LIST = /^\s*(?:\*|(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"(?:\s*,\s*(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")*)\s*$/
const WANTED = 'Send If-Match with the ETag that you read, If-None-Match: * to create, or If-Match: * to overwrite whatever is there'
const TAG = /(W\/)?"([^"]*)"/g

/**
 * Of which version the document must be for a request to write it (RFC 9110, 13.1): `If-Match` with strong tags, of which a weak one is
 * never equal; `If-None-Match: *` where there must be none. Nothing where the request says nothing.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_CONDITION, FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED
 */
export function versionsOf ({ headers }: FastifyRequest, isRequired: boolean): { ifVersion?: Versions } {
  const match = headers['if-match']
  const noneMatch = headers['if-none-match']
  if (match !== undefined && noneMatch !== undefined) throw new FST_ERR_CONFIG_CACHE_INVALID_CONDITION('If-None-Match', 'cannot be sent with If-Match')
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') throw new FST_ERR_CONFIG_CACHE_INVALID_CONDITION('If-None-Match', 'must be * where something is written')
    return { ifVersion: null }
  }
  if (match !== undefined) return { ifVersion: tagsOf('If-Match', match).filter((tag) => !tag.startsWith('W/')) }
  if (isRequired) throw new FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED(WANTED)
  return {}
}

/** Names the version of a value in the reply; whether the request knows it already, and 304 is the answer. */
export function setEtag (request: FastifyRequest, reply: FastifyReply, value: unknown): boolean {
  const version = versionOf(value)
  reply.header('etag', `"${version}"`).header('cache-control', 'private, no-cache')
  return isUnchanged(request.method, request.headers, { etag: `"${version}"` })
}

function tagsOf (header: string, text: string): string[] {
  if (!LIST.test(text)) throw new FST_ERR_CONFIG_CACHE_INVALID_CONDITION(header, 'must be * or a list of entity tags in quotes')
  if (text.trim() === '*') return ['*']
  // A tag that reads * is none of ours.
  return Array.from(text.matchAll(TAG), ([, weak = '', tag]) => tag === '*' ? '""' : weak + tag!)
}
