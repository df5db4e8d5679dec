import type { Kv } from '@jpulse/redis-link'
import { TooManyError } from '../errors.ts'

/** Wrong passwords for one name from one network before the pauses begin. */
const FREE = 10
const LONGEST_PAUSE_SECONDS = 900
/** How long wrong passwords are remembered. */
const MEMORY_SECONDS = 3600
/** Wrong passwords from one network for any names, in a window. */
const MOST_OF_NETWORK = 100
const WINDOW_SECONDS = 300

/** An attempt to sign in that may go on. What is not said to be right stays counted as wrong. */
interface Attempt {
  right (): Promise<void>
}

/**
 * Counts wrong passwords over all workers, by name and network: a stranger's guesses make the stranger wait, with a pause that
 * doubles, and nobody else. Attempts count while they are under way, so that a hundred at once are no hundred guesses.
 */
export class Attempts {
  readonly #kv: Pick<Kv, 'increment' | 'del'>

  constructor (kv: Pick<Kv, 'increment' | 'del'>) {
    this.#kv = kv
  }

  /** @throws TooManyError with `retryAfter` in seconds */
  async begin (name: string, ip: string): Promise<Attempt> {
    const network = networkOf(ip)
    const ofNetwork = `sign-in:${network}`
    const ofName = `sign-in:${network} ${name.slice(0, 200)}`
    if (await this.#kv.increment(ofNetwork, 1, WINDOW_SECONDS) > MOST_OF_NETWORK) throw await this.#refuse(WINDOW_SECONDS, ofNetwork)
    const nth = await this.#kv.increment(ofName, 1, MEMORY_SECONDS)
    if (nth > FREE) {
      const pause = Math.min(LONGEST_PAUSE_SECONDS, 2 ** Math.min(20, nth - FREE))
      // A counter that lives as long as the pause: whoever makes it is the one attempt of this time.
      if (await this.#kv.increment(`${ofName} pause`, 1, pause) > 1) throw await this.#refuse(pause, ofNetwork, ofName)
    }
    return {
      right: async () => {
        await Promise.all([this.#kv.increment(ofNetwork, -1, WINDOW_SECONDS), this.#kv.del(ofName), this.#kv.del(`${ofName} pause`)])
      }
    }
  }

  /** What is refused was no guess. */
  async #refuse (retryAfter: number, ...counted: string[]): Promise<Error> {
    await Promise.all(counted.map((key) => this.#kv.increment(key, -1, WINDOW_SECONDS)))
    return Object.assign(new TooManyError(), { retryAfter })
  }
}

/** Whom an address belongs to: a household or a machine has a /64 of IPv6 to choose its addresses from. */
export function networkOf (ip: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip) ?? []
  if (mapped !== undefined || !ip.includes(':')) return mapped ?? ip
  const [head = '', tail] = ip.replace(/%.*/, '').split('::')
  const [left, right] = [head, tail ?? ''].map((part) => part === '' ? [] : part.split(':')) as [string[], string[]]
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length)
  return `${[...left, ...Array.from({ length: zeros }, () => '0'), ...right].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}
