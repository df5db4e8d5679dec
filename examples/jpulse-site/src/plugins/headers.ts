import helmet from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { CONTENT_SECURITY_POLICY } from '../server-options.ts'

/** What a browser may do with an answer. */
export default fp(async (app: FastifyInstance) => {
  await app.register(helmet, {
    contentSecurityPolicy: CONTENT_SECURITY_POLICY,
    xFrameOptions: { action: 'deny' },
    // Not `no-referrer`, under which browsers say `Origin: null` with a form (Fetch, "append a request Origin header"). By plain http, where they
    // say no Sec-Fetch-Site, and in those that know none, the site would take its own form for another site's.
    referrerPolicy: { policy: 'same-origin' },
    crossOriginOpenerPolicy: false,
    originAgentCluster: false
  })
  // By plain http browsers leave both aside, and complain of it on every page.
  app.addHook('onRequest', async ({ protocol }, reply) => {
    if (protocol === 'https') reply.headers({ 'cross-origin-opener-policy': 'same-origin', 'origin-agent-cluster': '?1' })
  })
}, { name: 'site-headers', fastify: '5.x' })
