import type { FastifyBaseLogger } from 'fastify'
import type { Place } from '../delivery/carrier.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, FST_ERR_WS_NAMESPACES_TOO_MANY_ROOMS } from '../errors.ts'
import { isName } from '../ids.ts'
import type { ClientRecord, Membership, Records } from '../recovery/records.ts'
import { membershipsOf } from '../recovery/resume.ts'
import type { Definition } from './definition.ts'

export const NO_ROOMS: ReadonlySet<string> = new Set()

/** The connection whose rooms they are. */
export interface Owner {
  readonly clientId: string
  readonly userId: string | null
  /** Whether the client knows that it is connected. */
  readonly isStarted: boolean
  readonly isGone: boolean
  readonly hub: {
    readonly definition: Definition
    readonly log: FastifyBaseLogger
    readonly records: Records | null
    where (): Promise<Place | null>
  }
  /** Resolves when what is sent to the room is heard. */
  hear (room: string): Promise<void>
  unhear (room: string): void
  /** Whether the client may choose the room. */
  mayEnter (room: string): Promise<boolean>
}

/** The rooms of one connection. In a namespace with history it is recorded since when, for the client's next connection. */
export class Rooms {
  readonly #owner: Owner
  #names: Set<string> | null = null
  #memberships: Map<string, Membership> | null = null
  /** Left before `connected`: `restore` must not join them again. */
  #left: Set<string> | null = null
  #savedAt = 0
  #saving: Promise<void> | null = null

  constructor (owner: Owner) {
    this.#owner = owner
  }

  get names (): ReadonlySet<string> {
    return this.#names ?? NO_ROOMS
  }

  async enter (room: string, byClient: boolean): Promise<void> {
    if (!isName(room)) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('room', 'a text of 1 to 512 well-formed characters')
    const { isGone, hub } = this.#owner
    if (isGone) return
    const isNew = !this.names.has(room)
    const { rooms: most } = hub.definition.limits
    if (isNew && this.names.size >= most) throw new FST_ERR_WS_NAMESPACES_TOO_MANY_ROOMS(most)
    this.#names = (this.#names ?? new Set()).add(room)
    this.#left?.delete(room)
    if (isNew && hub.records !== null) this.#memberships = (this.#memberships ?? new Map()).set(room, { since: null, byClient })
    await this.#owner.hear(room)
    if (isNew && this.#owner.isStarted) await this.#enroll(room)
  }

  leave (room: string): void {
    const { isStarted } = this.#owner
    this.#memberships?.delete(room)
    if (!isStarted) this.#left = (this.#left ?? new Set()).add(room)
    if (this.#names?.delete(room) !== true) return
    this.#owner.unhear(room)
    if (isStarted) this.#save()
  }

  /** Joins the rooms of the client's last connection again. Returns whether there were any. */
  async restore ({ rooms }: ClientRecord): Promise<boolean> {
    const lacking = [...rooms].filter(([room]) => !this.names.has(room) && this.#left?.has(room) !== true)
    const entered = await Promise.all(lacking.map(async ([room, { byClient }]) => {
      try {
        if (byClient && !await this.#owner.mayEnter(room)) return false
        await this.enter(room, byClient)
        return true
      } catch (err) {
        this.#owner.hub.log.warn({ err }, 'a client did not come back into a room')
        return false
      }
    }))
    return entered.includes(true)
  }

  /** The connection began: records its rooms, for the client's next connection. */
  remember (record: ClientRecord | null, place: Place | null): void {
    const { clientId, userId } = this.#owner
    const byClient = new Set([...this.#memberships ?? []].flatMap(([room, membership]) => membership.byClient ? [room] : []))
    const memberships = membershipsOf({ clientId, userId, rooms: this.names }, record, place, byClient)
    this.#memberships = memberships.size === 0 ? null : memberships
    this.#save()
  }

  /** Renews the record's time to live. */
  renew (everyMs: number): void {
    if (this.#owner.isStarted && performance.now() - this.#savedAt >= everyMs) this.#save()
  }

  /** The connection ended. Its record stays. */
  end (): void {
    for (const room of this.names) this.#owner.unhear(room)
    this.#names = null
  }

  async #enroll (room: string): Promise<void> {
    if (this.#owner.hub.records === null) return
    const since = await this.#owner.hub.where()
    const membership = this.#memberships?.get(room)
    if (membership === undefined || membership.since !== null) return
    this.#memberships!.set(room, { ...membership, since })
    await this.#save()
  }

  /** Resolves when the record is written, or cannot be now. Changes of one turn of the event loop are one write. */
  async #save (): Promise<void> {
    const { clientId, userId, isGone, hub: { records, log } } = this.#owner
    if (records === null || isGone) return
    this.#saving ??= Promise.resolve().then(async () => {
      this.#saving = null
      this.#savedAt = performance.now()
      await records.write(clientId, { userId, rooms: this.#memberships ?? new Map() })
    }).catch((err: unknown) => log.debug({ err }, 'a client could not be recorded'))
    await this.#saving
  }
}
