import { hash } from 'node:crypto'
import { Signer as CookieSigner } from '@fastify/cookie'
import { refOf, type SessionRef } from '../stores/ids.ts'
import { Generations } from './generations.ts'

/** What a token is. */
export interface Unsigned {
  /** The id of a token that is signed by us, else null. */
  readonly id: string | null
  /** Null where it is not signed by us, or signs no id. */
  readonly ref: SessionRef | null
  /** Not signed with the first secret. */
  readonly isOld: boolean
}

/** So many tokens are kept twice over. A token with what is known of it takes some 500 bytes. */
const MOST = 5000
/** What is no token of ours is not kept: anybody could send it. */
const NONE: Unsigned = { id: null, ref: null, isOld: false }

/** Signs ids for the visitors, with secrets that no other realm has. What it has verified once it knows for a while. */
export class Signer {
  readonly #signer: CookieSigner
  readonly #known = new Generations<Unsigned>(MOST)

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
    return this.#known.get(token) ?? this.#verify(token)
  }

  #verify (token: string): Unsigned {
    const { valid, renew, value } = this.#signer.unsign(token)
    if (!valid || value === null) return NONE
    // A text that was cut out of a header keeps all of it in memory: what is kept is written anew.
    const id = Buffer.from(value).toString()
    const unsigned = { id, ref: refOf(id), isOld: renew }
    this.#known.set(token, unsigned)
    return unsigned
  }
}
