import type { RedisClient, RedisLink } from '@jpulse/redis-link'
import { decodePoint, readError, readReport, readTotals, type ErrorEntry, type Point, type Report, type Totals } from '../formats/index.ts'
import { minutesOf, type Counts } from '../requests/index.ts'
import { Keys } from './keys.ts'
import { withScripts, type MetricsCommands } from './scripts.ts'

/** What one report consists of. */
export interface Outgoing {
  report: string
  totals: string
  counters: ReadonlyMap<string, number>
  minutes: Array<[minute: number, counts: Counts]>
  errors: ErrorEntry[]
  point: string
}

/** Reports of the living, each with the age that Redis' clock gives it, and what is left of those that ended. */
export interface Found {
  reports: Array<{ report: Report, ageMs: number }>
  ended: Totals[]
  /** Values that are not reports. */
  skipped: number
}

const ERRORS_KEPT = 100
/** Answers that are asked for at once: thousands in one go would hold up whoever shares the connection. */
const CHUNK = 500

/** What the instances know of each other, in Redis. Every method rejects in an outage, within redis-link's command timeout. */
export class Store {
  readonly keys: Keys
  readonly #link: RedisLink
  readonly #bootId: string
  readonly #ttlMs: number
  readonly #keepMs: number
  readonly #parsed = new Map<string, { text: string, value: Parsed }>()
  #offsetMs = 0

  constructor (link: RedisLink, bootId: string, ttlMs: number, keepMs: number) {
    this.keys = new Keys(link)
    this.#link = link
    this.#bootId = bootId
    this.#ttlMs = ttlMs
    this.#keepMs = keepMs
    if (link.client !== null) withScripts(link.client)
  }

  /** Redis' time in milliseconds, as far as it is known. */
  now (): number {
    return Date.now() + this.#offsetMs
  }

  /** Writes a report: everything in one go, the index last, so that it never names a report that is not there yet. */
  async write ({ report, totals, counters, minutes, errors, point }: Outgoing): Promise<void> {
    const { keys } = this
    const boot = this.#bootId
    const commands: Command[] = [
      (client) => client.set(keys.instance(boot), report, 'PX', this.#ttlMs),
      (client) => client.set(keys.totals(boot), totals, 'PX', this.#keepMs),
      (client) => client.clusterMetricsPointV1(keys.history(boot), point, this.#keepMs)
    ]
    for (const [name, value] of counters) commands.push((client) => client.set(keys.metric(name, boot), value, 'PX', this.#keepMs))
    for (const [minute, counts] of minutes) {
      const key = keys.requests(boot, minute)
      commands.push((client) => client.hset(key, Object.fromEntries(counts)), (client) => client.pexpire(key, this.#keepMs))
    }
    if (errors.length > 0) {
      commands.push((client) => client.lpush(keys.errors, ...errors.map((entry) => JSON.stringify(entry))), (client) => client.ltrim(keys.errors, 0, ERRORS_KEPT - 1))
    }
    commands.push((client) => client.clusterMetricsReportV1(keys.index, boot, 0, this.#keepMs))
    const answers = await this.#all(commands)
    this.#offsetMs = Number(answers.at(-1)) - Date.now()
  }

  /** Says that this process is gone: at once, while its counters are kept. */
  async leave (): Promise<void> {
    await this.#all([
      (client) => client.del(this.keys.instance(this.#bootId)),
      (client) => client.clusterMetricsReportV1(this.keys.index, this.#bootId, this.#ttlMs, this.#keepMs)
    ])
  }

  /** The reports of the living, and the totals of those that ended within `keepMs`. */
  async found (): Promise<Found> {
    const { now, members } = await this.#list(this.#keepMs)
    const isAlive = ([, at]: [string, number]) => now - at < this.#ttlMs
    const texts = await this.#strings(members.map((member) => isAlive(member) ? this.keys.instance(member[0]) : this.keys.totals(member[0])))
    const found: Found = { reports: [], ended: [], skipped: 0 }
    members.forEach((member, index) => {
      const text = texts[index]
      if (text === null || text === undefined) return
      const [bootId, at] = member
      const value = this.#read(bootId, text, isAlive(member) ? parseReport : parseTotals)
      if (value === null) found.skipped++
      else if ('report' in value) found.reports.push({ report: value.report, ageMs: Math.max(0, now - at) })
      else found.ended.push(value.totals)
    })
    if (this.#parsed.size > 2 * members.length + 100) this.#parsed.clear()
    return found
  }

  /** What only grows, of the living and of those that ended within `keepMs`, as they last reported: this process too. */
  async totals (): Promise<Totals[]> {
    const { members } = await this.#list(this.#keepMs)
    const texts = await this.#strings(members.map(([bootId]) => this.keys.totals(bootId)))
    return texts.map((text) => text === null ? null : readTotals(text)).filter((totals) => totals !== null)
  }

  /** Requests by `route:status` over the last minutes, of everybody but this process. */
  async requests (minutes: number): Promise<Array<Record<string, string>>> {
    const { now, members } = await this.#list(this.#keepMs)
    const wanted = minutesOf(minutes, now)
    const keys = members.filter(([bootId, at]) => bootId !== this.#bootId && at >= wanted.at(-1)! - this.#ttlMs)
      .flatMap(([bootId]) => wanted.map((minute) => this.keys.requests(bootId, minute)))
    return await this.#all(keys.map((key) => (client) => client.hgetall(key))) as Array<Record<string, string>>
  }

  /** Points of the last minutes, of everybody but this process. */
  async history (minutes: number): Promise<Array<Array<[at: number, point: Point]>>> {
    const { now, members } = await this.#list(this.#keepMs)
    const since = now - minutes * 60_000
    const keys = members.filter(([bootId, at]) => bootId !== this.#bootId && at >= since - this.#ttlMs).map(([bootId]) => this.keys.history(bootId))
    const answers = await this.#all(keys.map((key) => (client) => client.zrange(key, since, '+inf', 'BYSCORE'))) as string[][]
    return answers.map((points) => points.map(decodePoint).filter((point) => point !== null))
  }

  /** The last errors, the newest first. */
  async errors (): Promise<ErrorEntry[]> {
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

  async #list (withinMs: number): Promise<{ now: number, members: Array<[bootId: string, at: number]> }> {
    const [now, flat] = await this.#link.run((client) => (client as typeof client & MetricsCommands).clusterMetricsListV1(this.keys.index, withinMs))
    const members: Array<[string, number]> = []
    for (let i = 0; i + 1 < flat.length; i += 2) members.push([flat[i]!, Number(flat[i + 1])])
    this.#offsetMs = Number(now) - Date.now()
    return { now: Number(now), members }
  }

  async #strings (keys: string[]): Promise<Array<string | null>> {
    if (keys.length === 0) return []
    // The keys of a Redis Cluster lie on several nodes, and MGET asks one.
    if (this.#link.mode === 'cluster') return await this.#all(keys.map((key) => (client) => client.get(key))) as Array<string | null>
    return this.#link.run((client) => client.mget(keys))
  }

  async #all (commands: Command[]): Promise<unknown[]> {
    const answers: unknown[] = []
    for (let first = 0; first < commands.length; first += CHUNK) {
      const chunk = commands.slice(first, first + CHUNK)
      answers.push(...await this.#link.run((client) => this.#link.mode === 'cluster'
        ? Promise.all(chunk.map((command) => command(client as typeof client & MetricsCommands)))
        : pipelined(client, chunk)))
    }
    return answers
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

type Command = (client: RedisClient & MetricsCommands) => Promise<unknown>

/** Sends commands in one go. @throws the first error among the answers */
async function pipelined (client: RedisClient, commands: Command[]): Promise<unknown[]> {
  const pipeline = client.pipeline()
  // A pipeline has the same methods; what they return is of no use here.
  for (const command of commands) command(pipeline as unknown as RedisClient & MetricsCommands)
  const answers = await pipeline.exec() ?? []
  return answers.map(([err, answer]) => {
    if (err !== null) throw err
    return answer
  })
}
