import type { Registry } from '../namespace/registry.ts'

const SWEEP_MS = 1000
const BEAT_MS = 5000

/** Looks after the connections now and then: pings them, ends the silent, looks at their sessions; renews what lives by it. */
export class Heartbeat {
  readonly #registry: Registry
  readonly #timers: NodeJS.Timeout[]

  constructor (registry: Registry) {
    const { pingIntervalMs, pongTimeoutMs, presenceLeaseMs } = registry.options
    this.#registry = registry
    this.#timers = [
      setInterval(() => this.#sweep(), Math.min(SWEEP_MS, Math.ceil(Math.min(pingIntervalMs, pongTimeoutMs) / 2))),
      setInterval(() => registry.beat(), Math.min(BEAT_MS, Math.floor(presenceLeaseMs / 3)))
    ]
    for (const timer of this.#timers) timer.unref()
  }

  stop (): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  #sweep (): void {
    const { pingIntervalMs, pongTimeoutMs } = this.#registry.options
    const now = performance.now()
    for (const conn of this.#registry.connections()) {
      const { internals } = conn
      const sincePing = now - internals.pingedAt
      // A further ping would give a silent client its time anew, each time.
      if (internals.heardAt < internals.pingedAt) {
        if (sincePing >= pongTimeoutMs) internals.socket.terminate()
      } else if (sincePing >= pingIntervalMs && conn.isOpen) {
        internals.pingedAt = now
        internals.socket.ping()
        this.#registry.sessions.look(conn)
      }
    }
  }
}
