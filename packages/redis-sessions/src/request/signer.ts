import { Signer } from '@fastify/cookie'

/** What @fastify/session takes in place of a secret. */
export interface CookieSigner {
  sign (value: string): string
  unsign (signed: string): { valid: boolean, renew: boolean, value: string | null }
}

/**
 * Signs with the first secret and accepts all of them. @fastify/session signs each id again that it just verified: that
 * signature is remembered, which saves one HMAC per request (benchmarks/redis-sessions).
 */
export function cookieSigner (secrets: readonly string[]): CookieSigner {
  const signer = new Signer([...secrets])
  let last: { value: string, signed: string } | undefined
  return {
    sign: (value) => last?.value === value ? last.signed : signer.sign(value),
    unsign (signed) {
      const result = signer.unsign(signed)
      last = result.valid && !result.renew ? { value: result.value, signed } : undefined
      return result
    }
  }
}
