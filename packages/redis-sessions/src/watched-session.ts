import { eventOf, type Events } from './events.ts'
import type { Loaded, SessionRecords } from './record/session-records.ts'

/** A session seen from a connection that outlives its request. It holds nothing of the request. */
export interface WatchedSession {
  /** Null for an anonymous session. */
  userId: string | null
  /** As `session:ended` and `list` name it. */
  handle: string
  /** `name` of the registration; '' where it has none. `session:ended` tells it, too. */
  realm: string
  /**
   * Asks the store whether the session is still alive.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  isAlive (): Promise<boolean>
  /**
   * Notes that the session was seen now, so that who is active on the connection is not logged out. As often as one likes: the
   * store is told once per `touchIntervalMs`. Resolves with whether the session is alive, as last known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  touch (): Promise<boolean>
}

interface Watching { readonly realm: string, readonly records: SessionRecords, readonly events: Events, readonly touchIntervalMs: number }

export function watchSession (loaded: Loaded, { realm, records, events, touchIntervalMs }: Watching): WatchedSession {
  const { ref, meta } = loaded
  // A login may have asked for an idle timeout that is shorter than the interval.
  const everyMs = Math.min(touchIntervalMs, Math.ceil(records.lifetimesOf(meta).idleTimeoutMs / 2) - 1)
  // Of the request's own activity: it was told before.
  let [touchedAt, alive] = [performance.now(), true]
  return {
    userId: meta.userId,
    handle: meta.handle,
    realm,
    isAlive: async () => await records.open(ref) !== null,
    async touch () {
      if (performance.now() - touchedAt < everyMs) return alive
      touchedAt = performance.now()
      alive = await records.touch({ ref, meta })
      if (alive) events.emit('renewed', eventOf({ meta }))
      return alive
    }
  }
}
