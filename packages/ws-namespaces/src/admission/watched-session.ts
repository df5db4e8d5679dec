/** A session as seen from a connection, see @jpulse/redis-sessions. */
export interface WatchedSession {
  readonly userId: string | null
  readonly handle: string
  /** `name` of the registration of sessions; '' where it has none. */
  readonly realm?: string
  /** Rejects while the store cannot be asked. */
  isAlive (): Promise<boolean>
  /** Counts as activity, so that the session does not time out; resolves with whether it is alive, as last known. */
  touch? (): Promise<boolean>
}
