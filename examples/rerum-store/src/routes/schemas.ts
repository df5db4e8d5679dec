import { Failure as Common } from '@jpulse/plugin-kit'
import { Type, type TSchema } from 'typebox'

export const DEFAULT_LIMIT = 100
export const MAX_LIMIT = 500
export const MAX_SKIP = 100_000

export const Named = Type.Object({ id: Type.String({ minLength: 1, maxLength: 200 }) })
export const Paged = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: `${DEFAULT_LIMIT} where it is not given, ${MAX_LIMIT} at most` })),
  skip: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_SKIP })),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 2000, description: 'of the link to the next page: goes on exactly where the page before ended, whatever was written since; skip does not count then' }))
})
export const JsonObject = Type.Object({}, { additionalProperties: true, description: 'a JSON object' })
export const Objects = Type.Array(JsonObject)

/** A response of which a context, or the client, says whether it is JSON or JSON-LD. */
export const linked = <T extends TSchema>(schema: T) => ({ content: { 'application/json': { schema }, 'application/ld+json': { schema } } })
const Failure = Type.Object({ ...Common.properties, currentVersion: Type.Optional(JsonObject) })
export const failures = { '4xx': Failure, '5xx': Failure }
