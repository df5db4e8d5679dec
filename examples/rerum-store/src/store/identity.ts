import { isRecord, type Body } from './body.ts'
import type { Living, Tombstone } from './document.ts'

/** Contexts in which `id` is what `@id` is elsewhere: IIIF Presentation 3, Web Annotation, and the store's own. */
const CONTEXTS = ['iiif.io/api/presentation/3/context.json', 'w3.org/ns/anno.jsonld', 'w3.org/ns/oa.jsonld', 'store.rerum.io/v1/context.json']

function usesId (context: unknown): boolean {
  if (Array.isArray(context)) return context.some(usesId)
  return typeof context === 'string' && CONTEXTS.includes(context.replace(/^https?:\/\/(?:www\.)?/, ''))
}

/**
 * A body with its identity in `@id`, where its context, or an `id` that `isOwn` knows, says that it stands in `id`. Of both, `@id`
 * counts.
 */
export function identified (body: unknown, isOwn: (uri: string) => boolean = () => false): unknown {
  if (!isRecord(body) || body.id === undefined) return body
  if (!usesId(body['@context']) && !(body['@id'] === undefined && typeof body.id === 'string' && isOwn(body.id))) return body
  const { id, ...rest } = body
  return { ...rest, '@id': rest['@id'] ?? id }
}

/** A body for a new object. An `id` that its maker gave it while it had no other is not kept. */
export function unidentified (body: unknown): unknown {
  if (!isRecord(body) || !usesId(body['@context'])) return body
  const { id: _id, ...rest }: Body = body
  return rest
}

/** An object as clients see it: with the identity where its context has it. */
export function shown (object: Living | Tombstone): object {
  if (!('@context' in object) || !usesId(object['@context'])) return object
  const { '@context': context, '@id': id, ...rest } = object
  return { '@context': context, id, ...rest }
}
