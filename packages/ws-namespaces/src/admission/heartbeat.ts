import type { Line } from '../delivery/line.ts'
import type { ResolvedOptions } from '../options.ts'
import type { WatchedSessions } from './sessions.ts'

const SWEEP_MS = 1000
const BEAT_MS = 5000

/** Looks after the sockets now and then: pings them, ends the silent, looks at their sessions; renews what lives by it. */
export class Heartbeat {
  readonly #options: ResolvedOptions
  readonly #lines: ReadonlySet<Line>
  readonly #sessions: WatchedSessions
  readonly #timers: NodeJS.Timeout[]

  constructor (options: ResolvedOptions, lines: ReadonlySet<Line>, sessions: WatchedSessions, beat: () => void) {
    const { pingIntervalMs, pongTimeoutMs, presenceLeaseMs } = options
    this.#options = options
    this.#lines = lines
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
    const silent: Line[] = []
    for (const line of this.#lines) {
      const sincePing = now - line.pingedAt
      // A further ping would give a silent client its time anew, each time.
      if (line.heardAt < line.pingedAt) {
        if (sincePing >= pongTimeoutMs) silent.push(line)
      } else if (sincePing >= pingIntervalMs && line.isOpen && line.owner.isReady) {
        line.pingedAt = now
        line.socket.ping()
        line.beat()
        this.#sessions.look(line.owner)
      }
    }
    if (silent.length > 0) this.#judge(silent)
  }

  /** Where this process stood still, what the clients said meanwhile lies in their sockets: it is read before anybody is judged. */
  #judge (silent: readonly Line[]): void {
    setImmediate(() => setImmediate(() => {
      for (const line of silent) if (line.heardAt < line.pingedAt) line.socket.terminate()
    }))
  }
}
