import { hash } from 'node:crypto'
import { Signer as CookieSigner } from '@fastify/cookie'
import { refOf, type SessionRef } from '../stores/ids.ts'

/** What a token is. */
export interface Unsigned {
  /** The id of a token that is signed by us, else null. */
  readonly id: string | null
  /** Null where it is not signed by us, or signs no id. */
  readonly ref: SessionRef | null
  /** Not signed with the first secret. */
  readonly isOld: boolean
}

/** So many tokens are kept twice over: of those that come again, most are found. A token with what is known of it takes some 500 bytes. */
const MOST = 5000
/** What is no token of ours is not kept: anybody could send it. */
const NONE: Unsigned = { id: null, ref: null, isOld: false }

/** Signs ids for the visitors, with secrets that no other realm has. What it has verified once it knows for a while. */
export class Signer {
  readonly #signer: CookieSigner
  #known = new Map<string, Unsigned>()
  #former = new Map<string, Unsigned>()

  /**
   * @param secrets the first signs, all verify
   * @param realm name of the registration; '' for the one without a name, whose signatures are those of the secrets themselves
   */
  constructor (secrets: readonly string[], realm: string) {
    this.#signer = new CookieSigner(realm === '' ? [...secrets] : secrets.map((secret) => hash('sha256', JSON.stringify(['redis-sessions realm', realm, secret]), 'base64')))
  }

  sign (id: string): string {
    return this.#signer.sign(id)
  }

  unsign (token: string): Unsigned {
    return this.#known.get(token) ?? this.#learn(token)
  }

  #learn (token: string): Unsigned {
    const former = this.#former.get(token)
    if (former !== undefined) return this.#keep(token, former)
    // A text that was cut out of a header keeps all of it in memory: what is kept is written anew.
    const own = Buffer.from(token).toString()
    return this.#keep(own, this.#verify(own))
  }

  #verify (token: string): Unsigned {
    const { valid, renew, value } = this.#signer.unsign(token)
    return valid && value !== null ? { id: value, ref: refOf(value), isOld: renew } : NONE
  }

  #keep (token: string, unsigned: Unsigned): Unsigned {
    if (unsigned === NONE) return NONE
    if (this.#known.size >= MOST) {
      this.#former = this.#known
      this.#known = new Map()
    }
    this.#known.set(token, unsigned)
    return unsigned
  }
}
