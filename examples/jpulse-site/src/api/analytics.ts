import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { currentReport, PEOPLE, ReportSchema, REPORT_TTL_MS } from '../people/report.ts'

/** The slow aggregate: one instance computes it, all answer from the cache until a person changes. */
const analytics: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/analytics/performance', {
    // One report, whatever is behind the question mark: each other key would be another slow read that anybody may ask for.
    // HEAD asks nothing of the route's cache, and so the report has an entry of its own too.
    config: { cache: { key: () => 'report', tags: [PEOPLE], ttlMs: REPORT_TTL_MS } },
    schema: { response: { 200: Success(ReportSchema), 503: Failure } }
  }, async () => ({ success: true as const, data: await currentReport(app) }))
}

export default analytics
