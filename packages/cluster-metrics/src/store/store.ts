import { DAY_MS } from '@jpulse/plugin-kit'
import type { RedisClock, RedisLink } from '@jpulse/redis-link'
import { decodePoint, inTurns, parse, readError, readReport, readTotals, type Ended, type EverybodysTotals, type Point, type Report, type StoredError, type Totals, type TotalsOfOne } from '../formats/index.ts'
import { minutesOf, type Counts } from '../requests/index.ts'
import { getMany, runMany, type Command } from './batch.ts'
import { EndedSum } from './ended-sum.ts'
import { Keys } from './keys.ts'
import { Members, UNADDED_MS, type Member } from './members.ts'
import { addPoint } from './scripts.ts'

/** What one report consists of. */
export interface Outgoing {
  report: string
  totals: string
  counters: ReadonlyMap<string, number>
  minutes: Array<[minute: number, counts: Counts]>
  errors: StoredError[]
  point: string
}

/** Reports of the living, each with the age that Redis' clock gives it, and what is left of those that ended. */
export interface Found {
  reports: Array<{ report: Report, ageMs: number }>
  ended: Totals[]
  /** Whether the sum of those that ended holds what this process counted: it was silent for longer than `ttlMs`. */
  hasOwn: boolean
  /** Values that are not reports. */
  skipped: number
}

const ERRORS_KEPT = 100
/** Histories that are read at once: one of an hour is some 40 KB. */
const HISTORIES = 50

/** What the instances know of each other, in Redis. Every method rejects in an outage, within redis-link's command timeout. */
export class Store {
  readonly keys: Keys
  readonly #link: RedisLink
  readonly #clock: RedisClock
  readonly #members: Members
  readonly #ended: EndedSum
  readonly #bootId: string
  readonly #ttlMs: number
  readonly #keepMs: number
  readonly #parsed = new Map<string, { text: string, value: Parsed }>()

  constructor (link: RedisLink, bootId: string, { ttlMs, keepMs }: { ttlMs: number, keepMs: number }, onFolded: (series: number) => void = () => {}) {
    this.keys = new Keys(link)
    this.#link = link
    this.#clock = link.clock
    this.#members = new Members(link, this.keys)
    this.#ended = new EndedSum(link, this.keys, this.#members, { ttlMs, keepMs }, onFolded)
    this.#bootId = bootId
    this.#ttlMs = ttlMs
    this.#keepMs = keepMs
  }

  /** Redis' time in milliseconds, as far as it is known. */
  now (): number {
    return this.#clock.now()
  }

  /** Writes a report: everything in one go, the index last, so that it never names a report that is not there yet. */
  async write ({ report, totals, counters, minutes, errors, point }: Outgoing): Promise<void> {
    const { keys } = this
    const boot = this.#bootId
    const commands: Command[] = [
      (client) => client.set(keys.instance(boot), report, 'PX', this.#ttlMs),
      (client) => client.set(keys.totals(boot), totals, 'PX', UNADDED_MS),
      (_client, call) => call(addPoint, { keys: [keys.history(boot)], args: [point, this.#keepMs] })
    ]
    for (const [name, value] of counters) commands.push((client) => client.set(keys.metric(name, boot), value, 'PX', this.#keepMs))
    for (const [minute, counts] of minutes) {
      const key = keys.requests(boot, minute)
      commands.push((client) => client.hset(key, Object.fromEntries(counts)), (client) => client.pexpire(key, this.#keepMs))
    }
    if (errors.length > 0) {
      commands.push((client) => client.lpush(keys.errors, ...errors.map((entry) => JSON.stringify(entry))), (client) => client.ltrim(keys.errors, 0, ERRORS_KEPT - 1))
    }
    commands.push(this.#members.reported(boot))
    await runMany(this.#link, commands)
  }

  /** Says that this process is gone: at once, while its counters are kept. */
  async leave (): Promise<void> {
    await runMany(this.#link, [(client) => client.del(this.keys.instance(this.#bootId)), this.#members.reported(this.#bootId, this.#ttlMs)])
  }

  /** Which of these processes have said that they leave, or ended so long ago that nobody knows. Of totals that another release wrote only that is read. */
  async left (bootIds: string[]): Promise<ReadonlySet<string>> {
    const texts = await getMany(this.#link, bootIds.map((bootId) => this.keys.totals(bootId)))
    return new Set(bootIds.filter((_, index) => texts[index] === null || (parse(texts[index]!) as { left?: unknown } | null)?.left === true))
  }

  /** Adds what ended instances counted to the cluster's sum. */
  addEnded (): Promise<void> {
    return this.#ended.addEnded()
  }

  /** For a process that was silent for so long that it may have been taken for dead. */
  takeBack (written: (seq: number) => Totals | undefined): Promise<void> {
    return this.#ended.takeBack(this.#bootId, written)
  }

  /** The reports of the living, and the totals of those that ended. */
  async found (): Promise<Found> {
    const { ended, now, members } = await this.#everybody()
    const isAlive = ([, at]: Member) => now - at < this.#ttlMs
    // Who asks is alive, however long ago it reported: it speaks for itself.
    const wanted = members.filter((member) => isAlive(member) || (member[0] !== this.#bootId && !ended?.boots.has(member[0])))
    const texts = await getMany(this.#link, wanted.map((member) => isAlive(member) ? this.keys.instance(member[0]) : this.keys.totals(member[0])))
    const found: Found = { reports: [], ended: ended === null ? [] : [ended.totals], hasOwn: ended?.boots.has(this.#bootId) === true, skipped: ended === null ? 1 : 0 }
    const unshown: string[] = []
    await inTurns(wanted, (member, index) => {
      const text = texts[index]
      const [bootId, at] = member
      const value = text === null || text === undefined ? null : this.#read(bootId, text, isAlive(member) ? parseReport : parseTotals)
      if (value === null && isAlive(member)) unshown.push(bootId)
      if (text === null || text === undefined) return
      if (value === null) found.skipped++
      else if ('report' in value) found.reports.push({ report: ended?.boots.has(bootId) === true ? { ...value.report, counters: {} } : value.report, ageMs: Math.max(0, now - at) })
      else found.ended.push(value.totals)
    })
    found.ended.push(...await this.#countedBy(unshown.filter((bootId) => bootId !== this.#bootId && ended?.boots.has(bootId) !== true)))
    if (this.#parsed.size > 2 * members.length + 100) this.#parsed.clear()
    return withoutReplaced(found)
  }

  /** What living processes counted that nobody can show: a report expires a moment before its process is gone from the index, and another release may have written it. */
  async #countedBy (bootIds: readonly string[]): Promise<Totals[]> {
    const texts = await getMany(this.#link, bootIds.map((bootId) => this.keys.totals(bootId)))
    return texts.map((text) => text === null ? null : readTotals(text)).filter((totals) => totals !== null)
  }

  /** What only grows, of the living and of those that ended, as they last reported: this process too. */
  async totals (): Promise<EverybodysTotals> {
    const { ended, members } = await this.#everybody()
    // In an order that stays the same: of a name that two releases make something else of, the first one's is shown.
    const bootIds = members.map(([bootId]) => bootId).filter((bootId) => !ended?.boots.has(bootId)).sort()
    const texts = await getMany(this.#link, bootIds.map((bootId) => this.keys.totals(bootId)))
    const living: TotalsOfOne[] = []
    await inTurns(texts, (text, index) => {
      const totals = text === null ? null : readTotals(text)
      if (totals !== null) living.push({ ...totals, bootId: bootIds[index]! })
    })
    return { living, ended: ended?.totals ?? null, folded: ended?.folded ?? 0 }
  }

  /**
   * The sum of those that ended, null where it cannot be read, and everybody in the index. The sum is read first: an
   * instance is added to it at least one turn before the index drops it.
   */
  async #everybody (): Promise<{ ended: Ended | null, now: number, members: Member[] }> {
    const ended = await this.#ended.read()
    return { ended, ...await this.#members.list() }
  }

  /** Requests by `route:status` over the last minutes, of everybody but this process. */
  async requests (minutes: number): Promise<Array<Record<string, string>>> {
    const { now, members } = await this.#members.list(this.#keepMs)
    const wanted = minutesOf(minutes, now)
    const keys = members.filter(([bootId, at]) => bootId !== this.#bootId && at >= wanted.at(-1)! - this.#ttlMs)
      .flatMap(([bootId]) => wanted.map((minute) => this.keys.requests(bootId, minute)))
    return await runMany(this.#link, keys.map((key) => (client) => client.hgetall(key))) as Array<Record<string, string>>
  }

  /** Points of the last minutes, of everybody but this process. */
  async history (minutes: number): Promise<Array<Array<[at: number, point: Point]>>> {
    const { now, members } = await this.#members.list(this.#keepMs)
    const since = now - minutes * 60_000
    const keys = members.filter(([bootId, at]) => bootId !== this.#bootId && at >= since - this.#ttlMs).map(([bootId]) => this.keys.history(bootId))
    const answers = await runMany(this.#link, keys.map((key) => (client) => client.zrange(key, since, '+inf', 'BYSCORE')), HISTORIES) as string[][]
    return answers.map((points) => points.map(decodePoint).filter((point) => point !== null))
  }

  /** Points of the last minutes of one process. */
  async historyOf (bootId: string, minutes: number): Promise<Array<[at: number, point: Point]>> {
    const points = await this.#link.run((client) => client.zrange(this.keys.history(bootId), this.now() - minutes * 60_000, '+inf', 'BYSCORE'))
    return points.map(decodePoint).filter((point) => point !== null)
  }

  /** Points of the cluster's day since then, as they were added. */
  days (since: number): Promise<string[]> {
    return this.#link.run((client) => client.zrange(this.keys.days, since, '+inf', 'BYSCORE'))
  }

  /** Adds a step of the day, and drops what is older than a day. */
  async addDay (begin: number, text: string): Promise<void> {
    await runMany(this.#link, [
      (client) => client.zadd(this.keys.days, begin, text),
      (client) => client.zremrangebyscore(this.keys.days, '-inf', begin - DAY_MS - 3_600_000),
      (client) => client.pexpire(this.keys.days, DAY_MS)
    ])
  }

  /** The last errors, the newest first. */
  async errors (): Promise<StoredError[]> {
    const texts = await this.#link.run((client) => client.lrange(this.keys.errors, 0, ERRORS_KEPT - 1))
    return texts.map(readError).filter((entry) => entry !== null)
  }

  /** A text is parsed once: it is asked for more often than it changes. */
  #read (bootId: string, text: string, parse: (text: string) => Parsed): Parsed {
    const known = this.#parsed.get(bootId)
    if (known !== undefined && known.text === text) return known.value
    const value = parse(text)
    this.#parsed.set(bootId, { text, value })
    return value
  }
}

type Parsed = { report: Report } | { totals: Totals } | null

function parseReport (text: string): Parsed {
  const report = readReport(text)
  return report && { report }
}

function parseTotals (text: string): Parsed {
  const totals = readTotals(text)
  return totals && { totals }
}

/**
 * Counts as ended who was silent for longer than a process has run that bears its id on its machine: in a crash loop each
 * start would be one more "living" instance until its report expires. What such an instance counted is kept.
 */
function withoutReplaced (found: Found): Found {
  const kept: Found = { ...found, reports: [], ended: [...found.ended] }
  const byId = new Map<string, Found['reports']>()
  for (const one of found.reports) {
    const id = `${one.report.instanceId} ${one.report.server.serverName}`
    byId.set(id, [...byId.get(id) ?? [], one])
  }
  for (const same of byId.values()) {
    for (const one of same) {
      const replaced = same.some((other) => other !== one && one.ageMs > runMs(other))
      if (replaced) kept.ended.push({ instanceId: one.report.instanceId, counters: one.report.counters, series: [] })
      else kept.reports.push(one)
    }
  }
  return kept
}

/** How long a process has run at least, by its last report. */
const runMs = ({ report, ageMs }: Found['reports'][number]): number => (report.uptimeMs ?? report.instance.uptime * 1000 + 500) + ageMs
