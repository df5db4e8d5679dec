import type { Protocol } from '@jpulse/ws-client'
import type { TSchema } from 'typebox'

/** Types that a namespace sends: by its `Protocol`, else any. */
export type TypeSent<Schema> = Schema extends Protocol ? keyof Schema['toClient'] & string : string

/** What follows on the type: its data, which may be left out where they may be undefined, and options. */
export type Sent<Schema, T, Options> = Schema extends Protocol
  ? T extends keyof Schema['toClient'] ? undefined extends Schema['toClient'][T] ? [data?: Schema['toClient'][T], options?: Options] : [data: Schema['toClient'][T], options?: Options] : never
  : [data?: unknown, options?: Options]

/** Who a client is, as `authorize` says. Further fields are the application's own, on `conn.ctx`. */
export interface Identity {
  /** Null for a guest of a public namespace. */
  userId: string | null
  /**
   * When the authorisation ends: a Date, or milliseconds since 1970; a JWT says seconds. The client is told before, and where it does not
   * renew it the connection ends with 4401. @default never
   */
  expiresAt?: number | Date
}

export interface SendOptions {
  /** Dropped, rather than the client, where the client is slow. @default false */
  volatile?: boolean | undefined
}

/** One client's connection to a namespace. */
export interface Connection<Ctx extends Identity = Identity, Schema extends TSchema = TSchema> {
  /** Names the client; it keeps it when it comes back within the history. */
  readonly clientId: string
  /** What `authorize` returned, or `renew` later. */
  readonly ctx: Ctx
  /** Null for a guest. */
  readonly userId: string | null
  /** Name of the namespace, as `get` takes it. */
  readonly namespace: string
  /** The rooms that it is in. */
  readonly rooms: ReadonlySet<string>
  /** Whether it is still there. */
  readonly isOpen: boolean
  /**
   * Sends to this client. It is not part of the history.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_DATA, _MESSAGE_TOO_LARGE
   */
  send<T extends TypeSent<Schema>> (type: T, ...rest: Sent<Schema, T, SendOptions>): void
  /** Resolves when what is sent to the room is heard. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
  join (room: string): Promise<void>
  /** From now on it gets nothing that is sent to the room. */
  leave (room: string): void
  /** Ends the connection. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
  close (code?: number, reason?: string): void
}
