/** A process of the cluster. */
export interface Member {
  readonly instanceId: string
  readonly serverId: string
  readonly bootId: string
  readonly pid: number
  /** When it started: milliseconds of its clock since 1970. */
  readonly startedAt: number
  /** Milliseconds since it last renewed its lease, by Redis' clock, at most: in a large cluster those who are on time are not told one by one. 0 for the own process. */
  readonly lastSeenMs: number
}

/** Changes that may wait for the one before them. */
const MOST_EARLY = 5000

/** What of a member does not change. `leaseMs` is its own: members may be configured differently. */
export type MemberRecord = Omit<Member, 'lastSeenMs'> & { readonly leaseMs: number }

interface Entry {
  readonly record: MemberRecord
  /** On this process' monotonic clock. */
  seenAt: number
  /** Not in Redis' list, and still here until then. */
  goneAt: number | undefined
}

/**
 * This process' picture of the cluster. It follows joins and leaves by their version (epoch and mv), so that an answer
 * and an announcement that overtake each other neither revive a member nor report it twice. Only an answer that is older
 * than what was known when its question was sent proves that Redis itself went back.
 */
export class Members {
  readonly #own: MemberRecord
  readonly #onJoin: (member: Member) => void
  readonly #onLeave: (member: Member) => void
  readonly #others = new Map<string, Entry>()
  /** Announcements that overtook the answer, or the announcement, that comes before them, by their number. */
  readonly #early = new Map<number, { epoch: string, sign: string, what: string }>()
  #epoch = ''
  #mv = 0
  /** Number of the last change that there is, as far as an answer told. */
  #latest = 0

  constructor (own: MemberRecord, onJoin: (member: Member) => void, onLeave: (member: Member) => void) {
    this.#own = own
    this.#onJoin = onJoin
    this.#onLeave = onLeave
  }

  /** As the heartbeat's script wants it. */
  get version (): string {
    return `${this.#epoch} ${this.#mv}`
  }

  list (): Member[] {
    const now = performance.now()
    return [publicOf(this.#own, 0), ...[...this.#others.values()].map(({ record, seenAt }) => publicOf(record, Math.max(0, Math.round(now - seenAt))))]
      .sort((a, b) => a.startedAt - b.startedAt || (a.bootId < b.bootId ? -1 : 1))
  }

  /** Whether a change is missing: one that is known follows on it, or an answer told of it. */
  get isBehind (): boolean {
    return this.#early.size > 0 || this.#latest > this.#mv
  }

  /** Number of the last change that is known. */
  get mv (): number {
    return this.#mv
  }

  /**
   * Takes the list that Redis holds, as boot ids and JSON in turn; empty where it is the one that is known, or the caller waits for
   * what was announced since.
   *
   * @param asked what `mv` was when the question was sent
   */
  applyList (epoch: string, mv: number, list: readonly string[], asked: number): void {
    const wentBack = epoch === this.#epoch && mv < asked
    if (epoch === this.#epoch && mv <= this.#mv && !wentBack) return this.#forgetEarly()
    this.#latest = mv
    if (list.length === 0) return
    const anew = wentBack || (epoch !== this.#epoch && this.#epoch !== '')
    this.#epoch = epoch
    this.#mv = mv
    const records = list.map((text, index) => index % 2 === 1 ? readRecord(text) : null).filter((record) => record !== null)
    const listed = new Set(records.map(({ bootId }) => bootId))
    for (const record of records) this.#add(record)
    for (const [bootId, entry] of this.#others) {
      if (listed.has(bootId)) continue
      // A list that began anew, or went back, knows only who was faster to come back: the others get the time of a lease.
      if (anew) entry.goneAt ??= performance.now() + entry.record.leaseMs
      else if (entry.goneAt === undefined) this.#remove(bootId)
    }
    this.#forgetEarly()
    this.#follow()
  }

  /**
   * Takes the leases that end first on Redis' clock, as boot ids and ends in turn: all, or those who are not among them end
   * later.
   */
  applyLeases (now: number, leases: readonly string[]): void {
    const clock = performance.now()
    const latest = Number(leases.at(-1) ?? -Infinity)
    const ends = new Map(leases.flatMap((bootId, index) => index % 2 === 0 ? [[bootId, Number(leases[index + 1])] as const] : []))
    for (const [bootId, entry] of this.#others) {
      const { record: { leaseMs }, goneAt } = entry
      if (goneAt !== undefined && goneAt <= clock) this.#remove(bootId)
      else entry.seenAt = Math.max(ends.has(bootId) ? -Infinity : entry.seenAt, clock - (now - ((ends.get(bootId) ?? latest) - leaseMs)))
    }
  }

  /** Takes an announcement: `<epoch> <mv> +|- <JSON or boot id>`. False where it waits for one that is missing before it. */
  applyChange (text: string): boolean {
    const [, epoch, mv, sign, what] = /^(\S{1,40}) (\d{1,15}) ([+-]) (.+)$/s.exec(text) ?? []
    if (epoch === undefined || (epoch === this.#epoch && Number(mv) <= this.#mv)) return true
    if (this.#early.size >= MOST_EARLY) this.#early.clear()
    this.#early.set(Number(mv), { epoch, sign: sign!, what: what! })
    this.#follow()
    return !this.isBehind
  }

  /** Drops the announcements that an answer of Redis holds already, or that are of another log. */
  #forgetEarly (): void {
    for (const [mv, { epoch }] of this.#early) if (epoch !== this.#epoch || mv <= this.#mv) this.#early.delete(mv)
  }

  /** Takes the announcements that follow on what is known. */
  #follow (): void {
    for (let next = this.#early.get(this.#mv + 1); next?.epoch === this.#epoch; next = this.#early.get(this.#mv + 1)) {
      const record = next.sign === '+' ? readRecord(next.what) : null
      if (next.sign === '+' && record === null) return
      this.#early.delete(++this.#mv)
      if (record === null) this.#remove(next.what)
      else this.#add(record)
    }
  }

  #add (record: MemberRecord): void {
    if (record.bootId === this.#own.bootId) return
    const known = this.#others.get(record.bootId)
    if (known !== undefined) {
      known.goneAt = undefined
      return
    }
    this.#others.set(record.bootId, { record, seenAt: performance.now(), goneAt: undefined })
    this.#onJoin(publicOf(record, 0))
  }

  #remove (bootId: string): void {
    const entry = this.#others.get(bootId)
    if (entry === undefined) return
    this.#others.delete(bootId)
    this.#onLeave(publicOf(entry.record, Math.max(0, Math.round(performance.now() - entry.seenAt))))
  }
}

function publicOf ({ leaseMs: _, ...record }: MemberRecord, lastSeenMs: number): Member {
  return { ...record, lastSeenMs }
}

function readRecord (json: string): MemberRecord | null {
  try {
    const { instanceId, serverId, bootId, pid, startedAt, leaseMs } = JSON.parse(json) as MemberRecord
    const texts = [instanceId, serverId, bootId].every((text) => typeof text === 'string')
    const numbers = [pid, startedAt, leaseMs].every((number) => Number.isFinite(number))
    return texts && numbers ? { instanceId, serverId, bootId, pid, startedAt, leaseMs } : null
  } catch {
    return null
  }
}
