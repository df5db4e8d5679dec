import { Failure as Common } from '@jpulse/plugin-kit'
import { Type } from 'typebox'

export const Named = Type.Object({ id: Type.String({ minLength: 1, maxLength: 200 }) })
export const Paged = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: '100 where it is not given, 500 at most' })),
  skip: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 }))
})
export const JsonObject = Type.Object({}, { additionalProperties: true, description: 'a JSON object' })
export const Objects = Type.Array(JsonObject)
const Failure = Type.Object({ ...Common.properties, currentVersion: Type.Optional(JsonObject) })
export const failures = { '4xx': Failure, '5xx': Failure }
