import type {} from '@fastify/swagger'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { html, type Html } from '../html.ts'
import { CONTENT_SECURITY_POLICY } from '../server-options.ts'
import { pageResponses, sendPage } from './page.ts'

/** Swagger UI has its icons within its style sheet. */
const WITH_ICONS = { ...CONTENT_SECURITY_POLICY, directives: { ...CONTENT_SECURITY_POLICY.directives, imgSrc: ["'self'", 'data:'] } }

interface Operation {
  operationId?: string
  tags?: string[]
  description?: string
  parameters?: Array<{ name: string, in: string, required?: boolean, schema?: unknown }>
  requestBody?: { content?: Record<string, { schema?: unknown }> }
  responses?: Record<string, { description?: string, content?: Record<string, { schema?: unknown }> }>
}

/** The API from its own schemas: a page without a script, which a policy that allows nothing inline can serve. */
const docs: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/docs/json', { schema: { response: { 200: Type.Unknown() } } }, async () => app.swagger())

  app.get('/docs/try', { helmet: { contentSecurityPolicy: WITH_ICONS }, schema: { response: pageResponses } }, async (request, reply) => sendPage(app, request, reply, {
    title: 'Try the API · jPulse',
    path: '/docs',
    scripts: ['try.js'],
    content: html`
    <section class="hero"><h1>Try the API</h1>
    <p class="lead">Requests go to this site as whoever is signed in: what they change is changed. Of what they are made: <a href="/docs">API</a>, <a href="/docs/json" data-document>/docs/json</a></p></section>
    <p role="status" data-try-status></p>
    <div data-operations>${[...grouped(app)].map(([name, entries]) => html`<section class="card api" aria-label="${name}"><h2>${name}</h2>
      <ul>${entries.map(([path, operations]) => Object.entries(operations).map(([method, operation]) => html`
        <li><a href="${addressOf(operation)}">${nameOf(method, path)}</a></li>`))}</ul></section>`)}</div>
    <div class="card try" data-try hidden></div>`
  }))

  app.get('/docs', { schema: { response: pageResponses } }, async (request, reply) => {
    return sendPage(app, request, reply, {
      title: 'API · jPulse',
      path: '/docs',
      content: html`
    <section class="hero"><h1>API</h1>
    <p class="lead">Answers are <code>{ success: true, data }</code> or <code>{ success: false, error, code, statusCode }</code>. <a href="/docs/try">Try requests</a>. The same as OpenAPI 3.1: <a href="/docs/json">/docs/json</a></p></section>
    ${[...grouped(app)].map(([name, entries]) => html`<section class="card api" aria-label="${name}"><h2>${name}</h2>${entries.map(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => operationOf(method, path, operation)))}</section>`)}`
    })
  })
}

export default docs

/** By the segment after /api/1. */
function grouped (app: FastifyInstance): Map<string, Array<[path: string, operations: Record<string, Operation>]>> {
  const paths = Object.entries(app.swagger().paths ?? {}) as Array<[string, Record<string, Operation>]>
  const groups = new Map<string, typeof paths>()
  for (const entry of paths.sort(([a], [b]) => a < b ? -1 : 1)) {
    const name = /^\/api\/1\/([^/]+)/.exec(entry[0])?.[1] ?? 'health and metrics'
    const list = groups.get(name)
    if (list === undefined) groups.set(name, [entry])
    else list.push(entry)
  }
  return groups
}

const nameOf = (method: string, path: string): Html => html`<span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code>`

/** Where Swagger UI has it on its page. */
const addressOf = ({ tags = [], operationId = '' }: Operation): string => `#/${encodeURIComponent(tags[0] ?? '')}/${encodeURIComponent(operationId)}`

function operationOf (method: string, path: string, operation: Operation): Html {
  const { description, parameters = [], requestBody, responses = {} } = operation
  const body = Object.values(requestBody?.content ?? {})[0]?.schema
  return html`
      <details><summary>${nameOf(method, path)}</summary>
        <p><a href="/docs/try${addressOf(operation)}" aria-label="Try ${method.toUpperCase()} ${path}">Try it</a></p>
        ${description !== undefined && html`<p>${description}</p>`}
        ${parameters.length > 0 && html`<h3>Parameters</h3><ul>${parameters.map(({ name, in: where, required, schema }) => html`
          <li><code>${name}</code> (${where}${required === true && ', required'}) <code>${JSON.stringify(schema)}</code></li>`)}</ul>`}
        ${body !== undefined && html`<h3>Body</h3><pre tabindex="0"><code>${JSON.stringify(body, null, 2)}</code></pre>`}
        <h3>Responses</h3><ul>${Object.entries(responses).map(([status, response]) => html`
          <li><code>${status}</code> <code>${short(Object.values(response.content ?? {})[0]?.schema)}</code></li>`)}</ul>
      </details>`
}

function short (schema: unknown): string {
  const text = JSON.stringify(schema) ?? ''
  return text.length > 600 ? `${text.slice(0, 600)} …` : text
}
