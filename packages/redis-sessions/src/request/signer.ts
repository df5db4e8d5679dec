import { hash } from 'node:crypto'
import { Signer as CookieSigner } from '@fastify/cookie'

/** Signs ids for the visitors, with secrets that no other realm has. */
export class Signer {
  readonly #signer: CookieSigner

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

  /** The id of a token, null where it is not signed by us; `isOld` where not with the first secret. */
  unsign (token: string): { readonly id: string | null, readonly isOld: boolean } {
    const { valid, renew, value } = this.#signer.unsign(token)
    return { id: valid ? value : null, isOld: renew }
  }
}
