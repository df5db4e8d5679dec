import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { linkHeader, PageOf, toJpulse } from '@jpulse/cursor-pagination'
import { Failure } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { PeopleQuery, pageOfPeople } from '../people/page.ts'

const Item = Type.Object({
  id: Type.Integer(), name: Type.String(), email: Type.String(), city: Type.String(), joinedAt: Type.String(), orders: Type.Integer(), spent: Type.Integer()
})

/** The listing as JSON, with `Link` headers. */
const users: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/users', { schema: { querystring: PeopleQuery, response: { 200: PageOf(Item), 400: Failure, 414: Failure, 503: Failure } } }, async (request, reply) => {
    const page = await pageOfPeople(app, request.query)
    reply.header('link', linkHeader(page, request))
    return toJpulse(page, ({ _id, joinedMonth, joinedAt, ...rest }) => ({ id: _id, ...rest, joinedAt: joinedAt.toISOString() }))
  })
}

export default users
