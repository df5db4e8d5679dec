import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { SiteConfig } from './config.ts'
import { PEOPLE } from './people/report.ts'
import { COLLECTION as TEMPLATES } from './templates.ts'

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

const LOOK_MS = 250
/** A cache that begins on an empty Redis is in use after its lease, and one that is not in use after this has a reason. */
const WARM_UP_MS = 30_000

/**
 * Reads what every page needs (settings, flags, templates) as soon as the cache is in use, so that no visitor waits for it after a deploy. A worker
 * serves meanwhile: what is not there yet is read when somebody asks.
 *
 * @returns how many documents it read
 */
export async function warmUp (app: FastifyInstance): Promise<number> {
  const { configCache, log } = app
  const until = performance.now() + WARM_UP_MS
  while (configCache.mode === 'bypass' && performance.now() < until && !app.drain.active) await sleep(LOOK_MS, undefined, { ref: false })
  // What is read while nothing is kept would be read for nothing.
  if (configCache.mode === 'bypass') return 0
  try {
    return await configCache.warmup(['config:*', 'features:*', 'doctypes:*', `${TEMPLATES}:*`])
  } catch (err) {
    log.warn({ err }, 'the cache is not warm: each document is read when it is asked for')
    return 0
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
