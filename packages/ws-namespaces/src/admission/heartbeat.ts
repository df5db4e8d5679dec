import type { QueuedSocket } from '../delivery/queued-socket.ts'
import type { ResolvedOptions } from '../options.ts'
import type { WatchedSessions } from './sessions.ts'

const SWEEP_MS = 1000
const BEAT_MS = 5000
/** Times that who is slow is waited for, at least. */
const LEAST_WAITS = 3

/** Pings each socket when it is due, cuts those that do not answer, checks their sessions, and renews leases by `beat`. */
export class Heartbeat {
  readonly #options: ResolvedOptions
  readonly #sockets: ReadonlySet<QueuedSocket>
  readonly #sessions: WatchedSessions
  readonly #timers: NodeJS.Timeout[]

  constructor (options: ResolvedOptions, sockets: ReadonlySet<QueuedSocket>, sessions: WatchedSessions, beat: () => void) {
    const { pingIntervalMs, pongTimeoutMs, presenceLeaseMs } = options
    this.#options = options
    this.#sockets = sockets
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
    const silent: QueuedSocket[] = []
    for (const socket of this.#sockets) {
      const sincePing = now - socket.pingedAt
      // No second ping before the first is answered: it would start the timeout anew.
      if (socket.heardAt < socket.pingedAt) {
        if (sincePing >= pongTimeoutMs) silent.push(socket)
      } else if (sincePing >= pingIntervalMs && socket.isOpen && socket.owner.isReady) {
        socket.ping()
        this.#sessions.look(socket.owner)
      }
    }
    if (silent.length > 0) this.#cutSilent(silent)
  }

  /** After a stall of the event loop, pongs that came in time are still unread in the sockets: two turns read them before anybody is cut. */
  #cutSilent (silent: readonly QueuedSocket[]): void {
    setImmediate(() => setImmediate(() => {
      for (const socket of silent) {
        if (socket.heardAt >= socket.pingedAt) continue
        // A byte now and then would keep it for ever.
        if (socket.isMoving() && socket.waits < mostWaits(this.#options)) this.#wait(socket)
        else socket.ws.terminate()
      }
    }))
  }

  /** For a client that is slow, once more as long. What comes with each ping does not wait for its answer. */
  #wait (socket: QueuedSocket): void {
    socket.waits++
    socket.pingedAt = performance.now()
    socket.beat()
    this.#sessions.look(socket.owner)
  }
}

/** For as long as between two pings. */
const mostWaits = ({ pingIntervalMs, pongTimeoutMs }: ResolvedOptions): number => Math.max(LEAST_WAITS, Math.ceil(pingIntervalMs / pongTimeoutMs))
