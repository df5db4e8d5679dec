import type { Members } from './members.ts'

/** What a renewal of the lease told. */
export interface Beat {
  readonly epoch: string
  readonly seq: number
  readonly mv: number
  /** Redis' time in milliseconds. */
  readonly now: number
  readonly leases: string[]
  readonly members: string[]
}

export interface HeartbeatSource {
  /** Renews the lease. Rejects in an outage. */
  beat (knownMembers: string): Promise<Beat>
  /** Whether it makes sense to try. */
  ready (): boolean
  /** @param asked what `mark` was when the renewal was sent */
  onBeat (beat: Beat, asked: number | null): void
  onFailure (err: unknown): void
  mark (): number | null
}

/** Renews the membership at intervals, and at once when something happened; never twice at a time. */
export class Heartbeat {
  readonly #source: HeartbeatSource
  readonly #members: Members
  readonly #everyMs: number
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | null = null
  #again = false
  #stopped = false

  constructor (source: HeartbeatSource, members: Members, everyMs: number) {
    this.#source = source
    this.#members = members
    this.#everyMs = everyMs
  }

  /** Begins to renew at intervals. */
  start (): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.now()
      this.start()
    }, this.#everyMs).unref()
  }

  /** Renews now; where a renewal is under way, after it. Resolves when it is over, whatever its outcome. */
  now (): Promise<void> {
    if (this.#stopped || !this.#source.ready()) return Promise.resolve()
    if (this.#running !== null) {
      this.#again = true
      return this.#running
    }
    this.#running = this.#beat().finally(() => { this.#running = null })
    return this.#running
  }

  /** Resolves when no renewal is under way any more, so that none can follow on what comes next. */
  async stop (): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
  }

  async #beat (): Promise<void> {
    do {
      this.#again = false
      const asked = this.#source.mark()
      try {
        const { version, mv } = this.#members
        const beat = await this.#source.beat(version)
        this.#members.applyList(beat.epoch, beat.mv, beat.members, mv)
        this.#members.applyLeases(beat.now, beat.leases)
        this.#source.onBeat(beat, asked)
      } catch (err) {
        this.#source.onFailure(err)
      }
    } while (this.#again && !this.#stopped && this.#source.ready())
  }
}
