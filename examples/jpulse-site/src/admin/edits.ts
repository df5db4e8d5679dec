import { createHash } from 'node:crypto'
import { FST_ERR_CONFIG_CACHE_VERSION_CONFLICT, versionOf as versionOfDocument } from '@jpulse/config-cache'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import { EditedError } from '../errors.ts'

/** Longer than a save takes while a database is slow. */
const LOCK_MS = 15_000

/** Which state of a thing a form was filled in for. */
export function versionOf (value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value ?? null)).digest('base64url').slice(0, 16)
}

export interface Edit<T> {
  /** What is edited, such as `flag banner`. */
  what: string
  /** What the editor saw; undefined saves whatever is there. */
  version: string | undefined
  read (): Promise<unknown>
  save (): Promise<T>
}

/**
 * Saves what somebody edited, unless somebody else saved the same thing meanwhile.
 *
 * @throws EditedError with `current` and `version`, which are there now
 */
export async function edit<T> (app: FastifyInstance, { what, version, read, save }: Edit<T>): Promise<T> {
  // While Redis is down the save is refused, by whom it concerns.
  const lock = app.redisLink.state === 'down' ? undefined : await app.redisLink.tryLock(`edit:${what}`, LOCK_MS)
  try {
    const current = await read()
    const now = versionOf(current)
    if (lock === null || (version !== undefined && version !== now)) throw Object.assign(new EditedError(what), { current, version: now })
    return await save()
  } finally {
    await lock?.release()
  }
}

/**
 * Saves a flag or document of the cache, which itself refuses what somebody else has changed.
 *
 * @param edit with a `save` that is given what it must hand on to the cache
 * @throws EditedError with `current` and `version`, which are there now
 */
export async function saveSeen ({ what, version, read, save }: Omit<Edit<void>, 'save'> & { save (ifVersion: { ifVersion?: string }): Promise<void> }): Promise<void> {
  try {
    await save(version === undefined ? {} : { ifVersion: version })
  } catch (err) {
    if (!(err instanceof FST_ERR_CONFIG_CACHE_VERSION_CONFLICT)) throw err
    const current = await read()
    throw Object.assign(new EditedError(what), { current, version: versionOfDocument(current) })
  }
}
