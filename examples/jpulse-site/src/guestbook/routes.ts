import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { EntrySchema, type GuestBook, LIST_MAX, NewEntrySchema } from './guestbook.ts'
import { tidyBody } from './input.ts'

const ListQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIST_MAX, default: 20 }))
}, { additionalProperties: false })

const routes: FastifyPluginAsyncTypebox<{ guestBook: GuestBook }> = async (app, { guestBook }) => {
  app.get('/guestbook', {
    schema: { querystring: ListQuery, response: { 200: Success(Type.Array(EntrySchema)), 400: Failure, 503: Failure } }
  }, async (request) => {
    return { success: true as const, data: await guestBook.list(request.query.limit ?? 20) }
  })

  app.post('/guestbook', {
    bodyLimit: 32 * 1024,
    preValidation: tidyBody,
    schema: { body: NewEntrySchema, response: { 201: Success(EntrySchema), '4xx': Failure, 503: Failure } }
  }, async (request, reply) => {
    return reply.code(201).send({ success: true, data: await guestBook.add(request.body) })
  })
}

export default routes
