import type { FastifyBaseLogger } from 'fastify'
import type { Events } from '../events.ts'
import type { Vault } from '../vault/vault.ts'
import type { Cookies } from './cookies.ts'
import type { Naming } from './held.ts'
import type { Recent } from './progress.ts'
import type { Signer } from './signer.ts'

/** What all requests of a registration share. */
export interface Shared extends Naming {
  readonly vault: Vault
  readonly cookies: Cookies
  readonly signer: Signer
  readonly events: Events
  readonly touchIntervalMs: number
  /** Sessions whose renewal this process noted as owed within the last interval. */
  readonly owed: Recent
  readonly log: FastifyBaseLogger
}
