import type { Hubs } from '../namespace/hubs.ts'
import type { Peer } from '../namespace/peer.ts'
import type { ResolvedOptions } from '../options.ts'
import type { WatchedSessions } from './sessions.ts'

const SWEEP_MS = 1000
const BEAT_MS = 5000

/** Looks after the connections now and then: pings them, ends the silent, looks at their sessions; renews what lives by it. */
export class Heartbeat {
  readonly #options: ResolvedOptions
  readonly #hubs: Hubs
  readonly #sessions: WatchedSessions
  readonly #timers: NodeJS.Timeout[]

  constructor (options: ResolvedOptions, hubs: Hubs, sessions: WatchedSessions, beat: () => void) {
    const { pingIntervalMs, pongTimeoutMs, presenceLeaseMs } = options
    this.#options = options
    this.#hubs = hubs
    this.#sessions = sessions
    this.#timers = [
      setInterval(() => this.#sweep(), Math.min(SWEEP_MS, Math.ceil(Math.min(pingIntervalMs, pongTimeoutMs) / 2))),
      setInterval(beat, Math.min(BEAT_MS, Math.floor(presenceLeaseMs / 3)))
    ]
    for (const timer of this.#timers) timer.unref()
  }

  stop (): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  #sweep (): void {
    const { pingIntervalMs, pongTimeoutMs } = this.#options
    const now = performance.now()
    const silent: Peer[] = []
    for (const peer of this.#hubs.connections()) {
      const sincePing = now - peer.pingedAt
      // A further ping would give a silent client its time anew, each time.
      if (peer.heardAt < peer.pingedAt) {
        if (sincePing >= pongTimeoutMs) silent.push(peer)
      } else if (sincePing >= pingIntervalMs && peer.isOpen && peer.isStarted) {
        peer.pingedAt = now
        peer.socket.ping()
        peer.beat()
        this.#sessions.look(peer)
      }
    }
    if (silent.length > 0) this.#judge(silent)
  }

  /** Where this process stood still, what the clients said meanwhile lies in their sockets: it is read before anybody is judged. */
  #judge (silent: readonly Peer[]): void {
    setImmediate(() => setImmediate(() => {
      for (const peer of silent) if (peer.heardAt < peer.pingedAt) peer.socket.terminate()
    }))
  }
}
