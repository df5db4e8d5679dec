import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { makeReport, PEOPLE, Report, REPORT_TTL_MS } from '../people/report.ts'
import { Failure, Success } from '../schemas.ts'

/** The slow aggregate: one instance computes it, all answer from the cache until a person changes. */
const analytics: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/analytics/performance', {
    config: { cache: { tags: [PEOPLE], ttlMs: REPORT_TTL_MS } },
    schema: { response: { 200: Success(Report), 503: Failure } }
  }, async () => ({ success: true as const, data: await makeReport(app.documents.directory) }))
}

export default analytics
