import { EventEmitter } from 'node:events'
import { acceptOnly, checkCall, within } from '@jpulse/plugin-kit'
import type { RedisLink, RedisState } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT, FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION } from './errors.ts'
import { Keys } from './keys.ts'
import { checkElection, Leader, type LeaderOptions } from './leader/leader.ts'
import { MemoryTerms, RedisTerms, type Terms } from './leader/terms.ts'
import { DuplicateWatch } from './membership/duplicate-watch.ts'
import { identify, type Identity } from './membership/identity.ts'
import type { Member, MemberRecord } from './membership/members.ts'
import { Broadcast, InternalBroadcast } from './messages/broadcast.ts'
import { MemoryTransport } from './messages/memory-transport.ts'
import { Messenger, type ClusterEvents } from './messages/messenger.ts'
import type { ReservedPrefix } from './messages/names.ts'
import { RedisTransport } from './messages/redis-transport.ts'
import type { ClusterMode } from './messages/transport.ts'
import { MemoryClaims } from './once/memory-claims.ts'
import type { Claims } from './once/once.ts'
import { RedisClaims } from './once/redis-claims.ts'
import { invalid, type ResolvedOptions } from './options.ts'
import { Schedule, type ScheduleOptions } from './schedule/schedule.ts'
import type { MemoryCluster } from './testing/memory-cluster.ts'

/** What the status route shows. */
export interface ClusterStatus {
  instanceId: string
  serverId: string
  bootId: string
  mode: ClusterMode
  redis: RedisState
  members: Member[]
  /** Instance ids that more than one member bears. */
  duplicates: string[]
  subscriptions: Array<{ pattern: string, handlers: number }>
  /** Messages that this process ignored: malformed ones, and kinds of a later release. */
  ignored: number
}

/** Longest that giving up what this process leads may take when it closes. */
const RESIGN_MS = 400

/** The cluster as this process sees it. */
export class AppCluster extends EventEmitter<ClusterEvents> implements Identity {
  readonly instanceId: string
  readonly serverId: string
  readonly bootId: string
  /** Messages between the instances. */
  readonly broadcast: Broadcast
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #messenger: Messenger
  readonly #claims: Claims
  readonly #cluster: MemoryCluster | undefined
  readonly #leaders = new Map<string, Leader>()
  #candidacies = 0
  readonly #schedules = new Map<string, Schedule>()
  readonly #watch: DuplicateWatch
  /** Before `#closing`: whoever is deposed by the close may stand again at once. */
  #isClosing = false
  #closing: Promise<void> | undefined

  constructor (link: RedisLink, options: ResolvedOptions, log: FastifyBaseLogger) {
    super()
    this.setMaxListeners(0)
    acceptOnly<ClusterEvents>(this, { join: true, leave: true, mode: true, gap: true, heartbeat: true }, (wanted) => new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT('The event', wanted))
    const identity = identify(options)
    this.instanceId = identity.instanceId
    this.serverId = identity.serverId
    this.bootId = identity.bootId
    this.#link = link
    this.#log = log
    const record: MemberRecord = { ...identity, pid: process.pid, startedAt: Date.now() - Math.round(process.uptime() * 1000), leaseMs: options.leaseMs }
    const subscriber = link.subscriber()
    this.#cluster = options.cluster
    if (this.#cluster !== undefined && subscriber !== null) throw new FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION('cluster', 'stands in place of Redis, which is configured')
    const transport = this.#cluster?.transport(record, options.heartbeatMs) ?? (subscriber === null
      ? new MemoryTransport(record, options.heartbeatMs)
      : new RedisTransport(link, subscriber, record, options, log))
    this.#messenger = new Messenger(this, identity, transport, options, log)
    this.#claims = this.#cluster?.claims() ?? (subscriber === null ? new MemoryClaims() : new RedisClaims(link, subscriber, new Keys(link), log))
    this.broadcast = new Broadcast(this.#messenger, this.#claims, null)
    this.#watch = new DuplicateWatch(options.leaseMs, (instanceId) => {
      log.warn({ duplicate: instanceId }, 'two live processes bear one instanceId; set serverId (SERVER_ID) or pmId')
    })
    this.on('join', (member) => this.#watch.joined(member))
    this.on('leave', (member) => {
      this.#watch.left(member)
      // Its place may be free.
      for (const leader of this.#leaders.values()) leader.stand()
    })
  }

  /** `cluster`: this process is a member, hears the others and is heard. `local`: it is alone, or Redis is away. */
  get mode (): ClusterMode {
    return this.#messenger.transport.mode
  }

  /** Every living process, this one included, the oldest first. While Redis is away: those that were last known. */
  members (): Member[] {
    return this.#messenger.transport.members()
  }

  /** Instance ids that more than one member bears now, be it for the seconds in which one replaces the other. Both keep working. */
  duplicates (): string[] {
    const [known, twice] = [new Set<string>(), new Set<string>()]
    for (const { instanceId } of this.members()) (known.has(instanceId) ? twice : known).add(instanceId)
    return [...twice]
  }

  /**
   * Stands for leader of this name: of all processes that do, one leads. The same name is the same election, also with other
   * options. Until `resign()` this process stays in it. Without Redis it leads at once.
   *
   * @param name 1 to 1024 characters
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT, _INVALID_OPTION
   */
  leader (name: string, options: LeaderOptions = {}): Leader {
    checkCall(options, ['leaseMs'], invalid)
    const { leaseMs = 10_000 } = options
    checkElection(name, leaseMs)
    const known = this.#leaders.get(name)
    if (known?.isOver === false) return known
    for (const [other, { isOver }] of this.#leaders) if (isOver) this.#leaders.delete(other)
    // A name of its own: the resignation of the one before may still be on its way, and must not end the term of this one.
    const leader = new Leader({ terms: this.#termsOf(name), holder: `${this.bootId}.${++this.#candidacies}`, leaseMs, log: this.#log })
    this.#leaders.set(name, leader)
    if (this.#isClosing) leader.resign()
    return leader
  }

  /**
   * Runs a function at the ticks of a cron pattern (five fields, or six with seconds first), each on one of the processes
   * that have the timetable: at most once, and not made up for where nobody could. Ends with the application.
   *
   * @param name the same on all processes, 1 to 512 characters, and another one for each timetable of a process
   * @param fn gets the time of the tick; what it throws or rejects with is logged
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT, _INVALID_OPTION
   */
  schedule (name: string, cron: string, fn: (at: Date) => unknown, options: ScheduleOptions = {}): Schedule {
    checkCall(options, ['timeZone', 'graceMs'], invalid)
    for (const [other, { isStopped }] of this.#schedules) if (isStopped) this.#schedules.delete(other)
    // A tick is claimed by the name: where two have one, it would be run by one of them only.
    if (this.#schedules.has(name)) throw new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT('The name of a timetable', 'one that no other timetable of this process has')
    const schedule = new Schedule(name, cron, fn, options, this.#claims, this.#log)
    this.#schedules.set(name, schedule)
    if (this.#isClosing) schedule.stop()
    return schedule
  }

  /** For the plugins of the suite: the handle for the channels below a reserved prefix. Not for applications. */
  internal (prefix: ReservedPrefix): InternalBroadcast {
    return new InternalBroadcast(this.#messenger, this.#claims, prefix)
  }

  status (): ClusterStatus {
    const { instanceId, serverId, bootId, mode } = this
    return {
      instanceId,
      serverId,
      bootId,
      mode,
      redis: this.#link.state,
      members: this.members(),
      duplicates: this.duplicates(),
      subscriptions: this.#messenger.subscriptions.list(),
      ignored: this.#messenger.transport.ignored
    }
  }

  /** Joins the cluster, where Redis is up. */
  async open (): Promise<void> {
    await this.#messenger.open()
    for (const member of this.members()) this.#watch.joined(member)
  }

  /** Leaves the cluster, within half a second. Further calls return the same promise. */
  close (): Promise<void> {
    this.#isClosing = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  #termsOf (name: string): Terms {
    return this.#cluster?.terms(name) ?? (this.#link.client === null ? new MemoryTerms(true) : new RedisTerms(this.#link, new Keys(this.#link).leader(name)))
  }

  async #close (): Promise<void> {
    for (const schedule of this.#schedules.values()) schedule.stop()
    this.#claims.close()
    const over = Promise.all([...this.#leaders.values()].map((leader) => leader.resign()).concat([...this.#schedules.values()].map((schedule) => schedule.idle())))
    await within(RESIGN_MS, over, () => new Error('Redis takes too long')).catch(() => {})
    await this.#messenger.close()
    this.removeAllListeners()
    this.#watch.close()
  }
}
