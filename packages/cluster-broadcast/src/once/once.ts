import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT } from '../errors.ts'
import { randomId } from '../membership/identity.ts'

/** What became of a `once`. */
export type OnceResult<T> =
  | { readonly ran: true, readonly value: T }
  /** `claimed`: another one ran it. `unavailable`: Redis is configured but away, so nobody can be sure; or the application closes. */
  | { readonly ran: false, readonly reason: 'claimed' | 'unavailable' }

/** How a claim stands. */
export interface Claim {
  readonly state: 'won' | 'running' | 'done'
  /** When it lapses, in milliseconds from now. */
  readonly leftMs: number
  /** Token of who holds it, or held it. */
  readonly holder: string
}

/** Keeps the claims of `once`. */
export interface Claims {
  /**
   * Null where it cannot be told. With the token of an earlier attempt that won it is won again.
   *
   * @param awaited the holder that the caller waited for: where that one was done, the claim is not free to it
   */
  take (name: string, token: string, ttlMs: number, awaited: string): Promise<Claim | null>
  /** Nothing was run under a claim of which nobody knows whether it stands: where it does, somebody else may have it. Never rejects. */
  giveBack (name: string, token: string, ttlMs: number): Promise<void>
  /** Nothing is run under a claim that was won: somebody else may have it. Never rejects. */
  forgo (name: string, token: string): Promise<void>
  /** The work is over; the claim keeps its time. Never rejects. */
  done (name: string, token: string): Promise<void>
  /** Resolves when a claim of this name is done, or earlier, at the latest after `ms`. */
  wait (name: string, ms: number): Promise<void>
  /** Who waits does so no longer, and nothing is claimed any more. */
  close (): void
}

/**
 * Runs `fn` on one caller of the cluster.
 *
 * A claim lasts `ttlMs` from its beginning, whatever happens to its holder: nobody else runs it in that time. The others
 * wait until the holder is done. Where its claim lapses without that, because it died, one of them takes over.
 *
 * @param owner keeps the names of applications and plugins apart
 */
export async function runOnce<T> (claims: Claims, owner: string, name: string, ttlMs: number, fn: () => T | Promise<T>): Promise<OnceResult<T>> {
  if (typeof name !== 'string' || name.length < 1 || name.length > 1024) throw invalid('The name of a once', 'a string of 1 to 1024 characters')
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 1 || ttlMs > MOST_MS) throw invalid('ttlMs', `a whole number from 1 to ${MOST_MS}`)
  if (typeof fn !== 'function') throw invalid('fn', 'a function')
  const token = randomId()
  const claim = `${owner}:${name}`
  const refusal = await claimOrWait(claims, claim, token, ttlMs)
  if (refusal === 'unavailable') claims.giveBack(claim, token, ttlMs)
  if (refusal !== null) return { ran: false, reason: refusal }
  try {
    return { ran: true, value: await fn() }
  } finally {
    await claims.done(claim, token)
  }
}

/** Null where the claim is ours. */
async function claimOrWait (claims: Claims, name: string, token: string, ttlMs: number): Promise<'claimed' | 'unavailable' | null> {
  for (let awaited = ''; ;) {
    const claim = await claims.take(name, token, ttlMs, awaited)
    if (claim === null) return 'unavailable'
    if (claim.state === 'won') return null
    // Who was slower than another to take over does not wait for that one too.
    if (claim.state === 'done' || (awaited !== '' && claim.holder !== awaited)) return 'claimed'
    awaited = claim.holder
    await claims.wait(name, Math.max(1, claim.leftMs))
  }
}

const MOST_MS = 31_622_400_000

function invalid (what: string, wanted: string): Error {
  return new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT(what, wanted)
}
