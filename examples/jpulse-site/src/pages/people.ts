import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { html } from '../html.ts'
import { PeopleQuery, pageOfPeople } from '../people/page.ts'
import type { Person } from '../people/people.ts'
import { pageResponses, sendPage } from './page.ts'

const Columns = Type.Object({ columns: Type.Array(Type.Object({ field: Type.Enum(['_id', 'name', 'email', 'city', 'joinedAt', 'orders', 'spent']), label: Type.String() })) })
const SORTED = new Set(['_id', 'name', 'city', 'joinedAt', 'spent'])

/** The document type of the listing, unless an administrator has stored another one. */
export const PERSON = {
  columns: [
    { field: '_id', label: 'No.' }, { field: 'name', label: 'Name' }, { field: 'city', label: 'City' },
    { field: 'joinedAt', label: 'Joined' }, { field: 'orders', label: 'Orders' }, { field: 'spent', label: 'Spent' }
  ]
} as const

/** The listing: people by cursor. */
const people: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/users', { schema: { querystring: PeopleQuery, response: pageResponses } }, async (request, reply) => {
    const [{ items, pageInfo }, stored] = await Promise.all([
      pageOfPeople(app, request.query),
      app.configCache.get('person', { collection: 'doctypes' })
    ])
    const { columns } = Value.Check(Columns, stored) ? stored : PERSON
    const sort = new URL(request.url, 'http://site').searchParams.get('sort') ?? ''
    const query = (cursor: string) => new URLSearchParams({ ...(sort !== '' && { sort }), limit: String(pageInfo.limit), cursor })
    const link = (cursor: string | null, label: string, rel: string) => cursor === null
      ? html`<span class="button off" aria-disabled="true">${label}</span>`
      : html`<a class="button" rel="${rel}" href="?${query(cursor)}">${label}</a>`
    const heading = (field: string, label: string) => !SORTED.has(field)
      ? label
      : html`<a href="?sort=${sort === field ? '-' : ''}${field}">${label}${sort === field ? ' ↑' : sort === `-${field}` ? ' ↓' : ''}</a>`
    return sendPage(app, request, reply, {
      title: 'People · jPulse',
      path: '/users',
      content: html`
    <section class="hero"><h1>People</h1>
    <p class="lead">Made up. A page deep in the list costs what the first one costs, and none is skipped or shown twice while others change it.</p></section>
    <div class="card scroll" tabindex="0" role="region" aria-label="People"><table>
      <thead><tr>${columns.map(({ field, label }) => html`<th scope="col" class="${field}">${heading(field, label)}</th>`)}</tr></thead>
      <tbody>${items.map((item) => html`<tr data-id="${item._id}">${columns.map(({ field }) => html`<td class="${field}">${shown(item, field as keyof Person)}</td>`)}</tr>`)}</tbody>
    </table></div>
    <nav class="pages" aria-label="Pages">${link(pageInfo.prevCursor, '← Previous', 'prev')} ${link(pageInfo.nextCursor, 'Next →', 'next')}</nav>`
    })
  })
}

export default people

function shown (item: Person, field: keyof Person): unknown {
  const value = item[field]
  if (value instanceof Date) return value.toISOString().slice(0, 10)
  return field === 'spent' ? `${value.toLocaleString('en')} €` : value
}
