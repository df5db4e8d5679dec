import type { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { Events } from '../events.ts'
import type { SessionRecords } from '../record/session-records.ts'
import type { Cookies } from './cookies.ts'
import type { InFlight } from './in-flight.ts'
import type { Recent } from './recent.ts'
import type { Signer } from './signer.ts'

/** What all requests of a registration share. */
export interface Shared {
  /** `name` of the registration; '' where it has none. */
  readonly realm: string
  /** The token of an id. */
  sign (id: string): string
  readonly records: SessionRecords
  readonly cookies: Cookies
  readonly signer: Signer
  readonly events: Events
  readonly touchIntervalMs: number
  readonly inFlight: InFlight
  /** Sessions whose renewal this process postponed within the last interval. */
  readonly postponed: Recent
  readonly log: FastifyBaseLogger
  readonly warnings: LogThrottle
}
