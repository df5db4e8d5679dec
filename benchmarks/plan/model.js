/**
 * What a site of so many users needs, from what was measured and from assumptions. Nothing here measures: what is beyond the
 * scale of a measurement says so.
 *
 * @typedef {Record<string, { command: string, date: string, machine: string, figures: any }>} Figures
 * @typedef {typeof ASSUMPTIONS} Assumptions
 * @typedef {{ name: string, value: number, unit: string, extrapolated: boolean, why: string }} Line
 * @typedef {{ users: number, lines: Line[], redis: string, isTooMuch: boolean }} Site
 */

/** Each may be given to `npm run capacity` by its name. */
export const ASSUMPTIONS = {
  /** Live sessions of a user. */
  sessions: 1,
  /** Share of the users that are there at the busiest hour, each with a socket. */
  online: 0.1,
  /** Requests of one who is there, in a second. */
  requests: 0.1,
  /** Messages of one who is there to a room, in a second. */
  messages: 0.01,
  /** Sockets in a room. */
  room: 20,
  /** Values in the cache. */
  cached: 10_000,
  /** Messages in histories: 500 namespaces of 200. */
  history: 100_000,
  /** Points in the history of an instance: an hour of `keepMs`, one with each report. */
  points: 360,
  /** Share of a core that may be used, of a worker and of a primary: the rest is for what comes in bursts. */
  busy: 0.5,
  /** Sockets of one worker: as many come back at once where one dies. */
  sockets: 10_000,
  /** Times the data: copies while a snapshot or a replica is made, fragments, and buffers of clients. */
  headroom: 2,
  /** GiB of data that one primary should hold: it is copied whole to a new replica. */
  primary: 8
}

/** Workers of one machine of the plan's table. */
const PER_SERVER = 8
/** Primaries that a Redis Cluster has at least. */
const LEAST_OF_CLUSTER = 3

export class NotMeasured extends Error {
  constructor () {
    super('not everything was measured yet: npm run bench -- plan')
  }
}

/** What a user, a socket, a member and so on cost, as measured last. @param {Figures} figures */
export function costs (figures) {
  const { latency, memory, members, carry } = figures
  if (latency === undefined || memory === undefined || members === undefined || carry === undefined) throw new NotMeasured()
  const bytes = (/** @type {string} */ kind) => {
    const rows = memory.figures.rows.filter((/** @type {any} */ row) => row.kind === kind)
    if (rows.length === 0) throw new NotMeasured()
    const { redis, count } = rows.at(-1)
    return { each: redis, upTo: count }
  }
  const single = members.figures.rows.filter((/** @type {any} */ { topology }) => topology === 'single')
  const largest = single.at(-1)
  if (largest === undefined) throw new NotMeasured()
  const { load } = members.figures
  return {
    session: { bytes: carry.figures.sessions.bytesEach, upTo: carry.figures.sessions.count },
    socket: { bytes: carry.figures.sockets.bytesEach, idleUs: carry.figures.sockets.idleUsEachPerSecond, deliveryUs: carry.figures.sockets.deliveryUs, upTo: carry.figures.sockets.count },
    presence: bytes('presence entry'),
    report: bytes('health report'),
    point: bytes('health history point'),
    cached: bytes('cached value'),
    history: bytes('history message'),
    member: { core: largest.idle.core / largest.members, kib: largest.idle.kib / largest.members, upTo: largest.members },
    // All that the load did, counted as if messages alone had cost it.
    delivery: { upTo: load.messages * largest.members, core: Math.max(0, largest.loaded.core - largest.idle.core) / (load.messages * largest.members), kib: Math.max(0, largest.loaded.kib - largest.idle.kib) / (load.messages * largest.members) },
    request: { ...latency.figures.request, upTo: latency.figures.request.perSecond }
  }
}

/** @param {Figures} figures @param {number} users @param {Partial<Assumptions>} [given] @returns {Site} */
export function siteOf (figures, users, given = {}) {
  const assumed = { ...ASSUMPTIONS, ...given }
  const cost = costs(figures)
  const sessions = users * assumed.sessions
  const online = users * assumed.online
  const requests = online * assumed.requests
  const messages = online * assumed.messages
  const workCores = (requests * cost.request.workerUs + messages * assumed.room * cost.socket.deliveryUs + online * cost.socket.idleUs) / 1e6
  const [bySockets, byWork] = [Math.ceil(online / assumed.sockets), Math.ceil(workCores / assumed.busy)]
  // Two, so that one may die or be replaced.
  const workers = Math.max(2, bySockets, byWork)
  // A message to a room goes to the workers that have somebody in it.
  const deliveries = messages * Math.min(assumed.room, workers)
  const [forMembers, forRequests, forMessages] = [workers * cost.member.core, requests * cost.request.redisUs / 1e6, deliveries * cost.delivery.core]
  const cores = forMembers + forRequests + forMessages
  const network = (workers * cost.member.kib + deliveries * cost.delivery.kib) / 1024 + requests * cost.request.redisBytes / 2 ** 20
  const parts = { sessions: sessions * cost.session.bytes, presence: online * cost.presence.each, history: assumed.history * cost.history.each, cache: assumed.cached * cost.cached.each, reports: workers * (cost.report.each + assumed.points * cost.point.each) }
  const data = Object.values(parts).reduce((sum, part) => sum + part, 0) / 2 ** 30
  // The log that all members share is one key, which no Cluster spreads: one primary is for that alone, where one cannot do everything.
  const forWork = cores <= assumed.busy ? 1 : 1 + Math.ceil(forRequests / assumed.busy)
  const wanted = Math.max(forWork, Math.ceil(data / assumed.primary))
  const primaries = wanted > 1 ? Math.max(LEAST_OF_CLUSTER, wanted) : 1
  const isBeyond = { sessions: sessions > cost.session.upTo, sockets: online > cost.socket.upTo, requests: requests > cost.request.upTo }
  // What is made of a number that was not measured was not measured either.
  const isWorkersBeyond = isBeyond.sockets || isBeyond.requests || workers > cost.member.upTo
  const isDataBeyond = isWorkersBeyond || isBeyond.sessions || online > cost.presence.upTo || assumed.history > cost.history.upTo || assumed.cached > cost.cached.upTo ||
    workers > cost.report.upTo || workers * assumed.points > cost.point.upTo
  const isWorkBeyond = isWorkersBeyond || deliveries > cost.delivery.upTo
  return {
    users,
    lines: [
      { name: 'sessions', value: sessions, unit: '', extrapolated: isBeyond.sessions, why: `${assumed.sessions} of each user` },
      { name: 'sockets at the busiest hour', value: online, unit: '', extrapolated: isBeyond.sockets, why: `${assumed.online} of the users` },
      { name: 'requests a second', value: requests, unit: '', extrapolated: isBeyond.requests, why: `${assumed.requests} of each who is there` },
      { name: 'workers', value: workers, unit: '', extrapolated: isWorkersBeyond, why: workers === bySockets ? `${assumed.sockets} sockets each` : workers === byWork ? `${assumed.busy} of a core each` : 'two, so that one may go' },
      { name: `servers of ${PER_SERVER} workers`, value: Math.max(2, Math.ceil(workers / PER_SERVER)), unit: '', extrapolated: isWorkersBeyond, why: 'two, so that one may go' },
      { name: 'memory of a worker for sockets', value: online / workers * cost.socket.bytes / 2 ** 20, unit: 'MiB', extrapolated: isWorkersBeyond, why: 'beside that of the application' },
      { name: 'Redis: data', value: data * 1024, unit: 'MiB', extrapolated: isDataBeyond, why: largestOf(parts) },
      { name: 'Redis: maxmemory', value: data * 1024 * assumed.headroom, unit: 'MiB', extrapolated: isDataBeyond, why: `${assumed.headroom} times the data` },
      { name: 'Redis: work', value: cores, unit: 'cores', extrapolated: isWorkBeyond, why: largestOf({ members: forMembers, requests: forRequests, messages: forMessages }) },
      { name: 'Redis: network', value: network, unit: 'MiB/s', extrapolated: isWorkBeyond, why: 'what it sends' },
      { name: 'Redis: primaries', value: primaries, unit: '', extrapolated: isDataBeyond || isWorkBeyond, why: `${assumed.busy} of a core and ${assumed.primary} GiB each${forWork > 1 ? ', one for what all members share' : ''}` }
    ],
    redis: primaries > 1 ? `Redis Cluster of ${primaries} primaries with a replica each` : 'Sentinel: one primary and two replicas; one server alone where an outage of Redis may last as long as its restart',
    isTooMuch: forMembers + forMessages > assumed.busy
  }
}

/** @param {Record<string, number>} parts */
function largestOf (parts) {
  const all = Object.values(parts).reduce((sum, part) => sum + part, 0)
  const [name, most] = Object.entries(parts).reduce((a, b) => b[1] > a[1] ? b : a)
  return `${Math.round(most / all * 100)}% for ${name}`
}
