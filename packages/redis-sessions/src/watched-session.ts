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
   * store is told once per `touchIntervalMs`, and asked again where it could not be told. Resolves with whether the session is
   * alive, as last known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  touch (): Promise<boolean>
}

interface Watching { readonly realm: string, readonly records: SessionRecords, readonly events: Events, readonly touchIntervalMs: number }

/** Who has no session in an outage of Redis, with policy `memory`, has it again after that. */
const ASK_AGAIN_MS = 1000

export function watchSession (loaded: Loaded, { realm, records, events, touchIntervalMs }: Watching): WatchedSession {
  const { ref, meta } = loaded
  // A login may have asked for an idle timeout that is shorter than the interval.
  const everyMs = Math.min(touchIntervalMs, Math.ceil(records.lifetimesOf(meta).idleTimeoutMs / 2) - 1)
  // Of the request's own activity: it was told before.
  let [askedAt, alive] = [performance.now(), true]
  let asking: Promise<boolean> | null = null
  async function ask (): Promise<boolean> {
    const at = performance.now()
    alive = await records.touch({ ref, meta })
    // Not where that failed: the next touch may be the last before the session times out.
    askedAt = at
    if (alive) events.emit('renewed', eventOf({ meta }))
    return alive
  }
  return {
    userId: meta.userId,
    handle: meta.handle,
    realm,
    isAlive: async () => await records.open(ref) !== null,
    async touch () {
      if (asking !== null) return asking
      if (performance.now() - askedAt < (alive ? everyMs : Math.min(everyMs, ASK_AGAIN_MS))) return alive
      asking = ask().finally(() => { asking = null })
      return asking
    }
  }
}
