import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { SiteConfig } from './config.ts'
import { PEOPLE } from './people/report.ts'

const RETRY_MS = 2000
/** Longer than it takes. */
const SEED_MS = 60_000

/**
 * Makes the administrator's account and fills the listing, in the background: a site whose MongoDB is away at boot serves
 * what it can, and has both as soon as MongoDB is there. One worker does the filling; a second one, after a crash, finds what the first has put there.
 */
export function prepare (app: FastifyInstance, config: SiteConfig): Promise<void> {
  const closing = new AbortController()
  app.server.once('close', () => closing.abort())
  return attempt(app, config, closing.signal)
}

async function attempt (app: FastifyInstance, config: SiteConfig, closing: AbortSignal): Promise<void> {
  while (!closing.aborted) {
    try {
      if (config.admin !== undefined) await app.accounts.ensureAdmin(config.admin, app.log)
      await seedOnce(app, config.seedPeople)
      return
    } catch (err) {
      app.log.warn({ err }, 'not prepared yet, trying again')
      await sleep(RETRY_MS, undefined, { ref: false, signal: closing }).catch(() => {})
    }
  }
}

/** By one of the workers that start together. Where the cluster cannot be asked each does it: fixed ids keep that harmless. */
async function seedOnce (app: FastifyInstance, people: number): Promise<void> {
  const claim = await app.appCluster.broadcast.once('site:seed', SEED_MS, () => seed(app, people))
  if (!claim.ran && claim.reason === 'unavailable') await seed(app, people)
}

/** Charts that were computed meanwhile are out of date afterwards, and cached. */
export async function seed (app: FastifyInstance, people: number): Promise<number> {
  const { directory } = app.documents
  const added = await directory.seed(people)
  if (added > 0) await app.configCache.write({ tags: [PEOPLE] }, async () => {})
  return added
}
