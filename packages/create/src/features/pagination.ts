import type { Feature } from '../feature.ts'

export const pagination: Feature = {
  name: 'pagination',
  about: 'lists by cursor that skip nothing and repeat nothing',
  plugin: '@jpulse/cursor-pagination',
  local: 'cursorPagination',
  options: "{ secret: env.SESSION_SECRET ?? '' }",
  routes: ['`GET /people?limit=2&sort=name&cursor=…`: in place of the array goes a collection of MongoDB'],
  route: (_project, ts) => `import { PageQuery, paginateOptions, toPage } from '@jpulse/cursor-pagination'
${ts("import type { FastifyInstance } from 'fastify'\n")}
const people = ['Grace', 'Ada', 'Edsger', 'Barbara', 'Alan'].map((name, _id) => ({ _id, name }))

export default async function list (app${ts(': FastifyInstance')}) {
  const querystring = PageQuery({ sortable: ['name'], maxLimit: 100 })
  app.get('/people', { schema: { querystring } }, async (request) => {
    return toPage(await app.paginate(people, paginateOptions(request.query)), ({ name }) => ({ name }))
  })
}
`,
  test: (_project, ts) => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { build } from './helper.js'

test('a walk by cursor meets everybody once, in order', async (t) => {
  const app = await build(t)
  const met${ts(': string[]')} = []
  for (let cursor${ts(': string | null')} = ''; cursor !== null;) {
    const page${ts(': { items: Array<{ name: string }>, nextCursor: string | null }')} = (await app.inject({ url: '/people', query: { limit: '2', sort: 'name', ...(cursor !== '' && { cursor }) } })).json()
    met.push(...page.items.map(({ name }) => name))
    cursor = page.nextCursor
  }
  assert.deepEqual(met, ['Ada', 'Alan', 'Barbara', 'Edsger', 'Grace'])
})
`
}
