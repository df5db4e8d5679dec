import { isRecord, type Body } from './body.ts'

/** Contexts in which `id` is what `@id` is elsewhere, with the form of JSON-LD that they stand for. */
const CONTEXTS: Readonly<Record<string, Form>> = {
  'iiif.io/api/presentation/3/context.json': 'iiif',
  'w3.org/ns/anno.jsonld': 'annotation',
  'w3.org/ns/oa.jsonld': 'annotation',
  'store.rerum.io/v1/context.json': 'linked'
}

/** What an object is served as: JSON without a context, JSON-LD, or JSON-LD of one of the two profiles. */
export type Form = 'json' | 'linked' | 'annotation' | 'iiif'

/** The form of a context that maps `id`; undefined for others. */
function mappedForm (context: unknown): Form | undefined {
  if (Array.isArray(context)) return context.map(mappedForm).find((form) => form !== undefined)
  return typeof context === 'string' ? CONTEXTS[context.replace(/^https?:\/\/(?:www\.)?/, '')] : undefined
}

export function formOf (object: object): Form {
  if (!('@context' in object)) return 'json'
  return mappedForm(object['@context']) ?? 'linked'
}

/** Whether the context of an object says `id` where others have `@id`. */
export const mapsId = (body: Body): boolean => mappedForm(body['@context']) !== undefined

/**
 * A body with its identity in `@id`, where its context, or an `id` that `isOwn` knows, says that it stands in `id`. Of both, `@id`
 * counts.
 */
export function identified (body: unknown, isOwn: (uri: string) => boolean = () => false): unknown {
  if (!isRecord(body) || body.id === undefined) return body
  if (!mapsId(body) && !(body['@id'] === undefined && typeof body.id === 'string' && isOwn(body.id))) return body
  const { id, ...rest } = body
  return { ...rest, '@id': rest['@id'] ?? id }
}

/** A body for a new object. An `id` that its maker gave it while it had no other is not kept. */
export function unidentified (body: unknown): unknown {
  if (!isRecord(body) || !mapsId(body)) return body
  const { id: _id, ...rest }: Body = body
  return rest
}

/** An object as clients see it: with the identity where its context has it. */
export function shown (object: Body): Body {
  if (!mapsId(object)) return object
  const { '@context': context, '@id': id, ...rest } = object
  return { '@context': context, id, ...rest }
}

/** Whether an object is a Web Annotation, by the type that either vocabulary gives it. */
export function isAnnotation (object: Body): boolean {
  return [object.type, object['@type']].flat().some((type) => type === 'Annotation' || type === 'oa:Annotation')
}
