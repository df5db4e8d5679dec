import type { Unsubscribe } from '@jpulse/cluster-broadcast'
import type { FastifyBaseLogger } from 'fastify'
import type { Listening } from './carrier.ts'

const RETRY_MS = 5000

/**
 * Keeps up what this process listens to. Where Redis refuses a channel, because its user may not subscribe to it, that is told once
 * and tried again now and then: until it is heard, clients here get what this process publishes, and nobody else is concerned.
 */
export class Listener {
  readonly #log: FastifyBaseLogger
  #complained = false

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  /** `ready` resolves after the first try. Never rejects. */
  listen (subscribe: () => Promise<Unsubscribe>): Listening {
    let isOver = false
    let end: Unsubscribe | null = null
    let timer: NodeJS.Timeout | undefined
    const attempt = async (): Promise<void> => {
      try {
        end = await subscribe()
        if (isOver) await end()
      } catch (err) {
        if (isOver) return
        this.#complain(err)
        timer = setTimeout(attempt, RETRY_MS).unref()
      }
    }
    return {
      ready: attempt(),
      stop: () => {
        isOver = true
        clearTimeout(timer)
        end?.().catch(() => {})
      }
    }
  }

  #complain (err: unknown): void {
    if (this.#complained) return
    this.#complained = true
    this.#log.error({ err }, 'Redis refuses a channel of the namespaces: clients of this process hear only what it publishes itself, until its user may subscribe; `npx redis-link acl` prints what it needs')
  }
}
