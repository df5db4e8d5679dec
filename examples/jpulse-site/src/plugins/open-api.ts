import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** What programs use; pages describe themselves. */
const FOR_PROGRAMS = /^\/(?:api|health|metrics)(?:[/?]|$)/
/** What anybody may ask. */
const PUBLIC = /^(?:get|post) (?:\/health(?:\/.*)?|\/api\/1\/(?:health|metrics|auth\/(?:login|logout|status)|guestbook))$|^get \/api\/1\/(?:users|analytics\/performance|features\/:name)$/

const SCHEMES = {
  session: { type: 'apiKey', in: 'cookie', name: 'sessionId', description: 'Of POST /api/1/auth/login. Where the site is on https, and not below BASE_PATH, its name is __Host-sessionId.' },
  metricsToken: { type: 'http', scheme: 'bearer', description: 'METRICS_TOKEN: reads /metrics, and nothing else' }
} as const

/** Collects the schemas of all routes that are registered after it; pages/docs.ts shows them. */
export default fp(async (app: FastifyInstance, { base }: { base: string }) => {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'jpulse-site', version: '1', description: 'Answers are { success: true, data } or { success: false, error, code, statusCode }.' },
      components: { securitySchemes: SCHEMES },
      ...(base !== '' && { servers: [{ url: base }] })
    },
    transform: ({ schema, url, route }) => ({ url, schema: FOR_PROGRAMS.test(url) ? { ...described(String(route.method).toLowerCase(), url), ...schema } : { ...schema, hide: true } })
  })
}, { name: 'site-open-api', fastify: '5.x' })

function described (method: string, url: string): { operationId: string, tags: string[], security: Array<Record<string, string[]>> } {
  const [first = 'health', ...rest] = url.replace('/api/1/', '/').split('/').filter((part) => part !== '')
  const security: Array<Record<string, string[]>> = PUBLIC.test(`${method} ${url}`) ? [] : [{ session: [] }]
  if (url === '/metrics') security.push({ metricsToken: [] })
  return { operationId: [method, ...(url.startsWith('/api/') ? [] : ['plain']), first, ...rest].map(word).join(''), tags: [first], security }
}

/** Of a path, as a part of a name in camel case: `:namespace` is `ByNamespace`. */
function word (part: string, index: number): string {
  const words = part.replace('*', 'by-path').replace(/^:/, 'by-').split(/[^a-z0-9]+/i).map((one) => one.charAt(0).toUpperCase() + one.slice(1)).join('')
  return index === 0 ? part : words
}
