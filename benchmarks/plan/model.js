import { ASSUMPTIONS, assumed } from './assumptions.js'

/**
 * What a site of so many users needs, from what was measured and from assumptions. Nothing here measures: what is beyond the
 * scale of a measurement says so.
 *
 * @typedef {Record<string, { command: string, date: string, machine: string, figures: any }>} Figures
 * @typedef {import('./assumptions.js').Assumptions} Assumptions
 * @typedef {{ name: string, value: number, unit: string, extrapolated: boolean, why: string }} Line
 * @typedef {{ users: number, lines: Line[], redis: string, isTooMuch: boolean }} Site
 * @typedef {(members: number) => number} Curve a cost of all of so many members
 */

/** Workers of one machine of the plan's table. */
const PER_SERVER = 8
/** Of a core of each worker that is left where a server is lost: with the work of the others, and without the sockets that come back. */
const MOST_LEFT = 0.75
/** Of ws-namespaces, where nothing else is said. */
const DEFAULT_WINDOW_MS = 2000
/** Primaries that a Redis Cluster has at least. */
const LEAST_OF_CLUSTER = 3

export class NotMeasured extends Error {
  constructor () {
    super('not everything was measured yet: npm run bench -- plan')
  }
}

/**
 * Between two numbers of members the cost lies on the line between theirs; below the least and beyond the largest that were
 * measured each member costs as much as one of those. More members never cost less: that would be noise.
 *
 * @param {any[]} rows @param {(row: any) => number} of @returns {Curve}
 */
function curve (rows, of) {
  const points = [{ at: 0, cost: 0 }, ...rows.map((row, index) => ({ at: row.members, cost: Math.max(...rows.slice(0, index + 1).map(of)) }))]
  return (members) => {
    const above = points.find(({ at }) => at >= members)
    const last = /** @type {typeof points[number]} */ (points.at(-1))
    if (above === undefined) return last.at === 0 ? 0 : last.cost * members / last.at
    const below = points.findLast(({ at }) => at < members) ?? above
    return above === below ? above.cost : below.cost + (above.cost - below.cost) * (members - below.at) / (above.at - below.at)
  }
}

/** Of so many idle members; on a Cluster, at least what they cost one server. @param {any[]} rows @param {'core' | 'kib'} what @returns {{ single: Curve, cluster: Curve }} */
function idleCosts (rows, what) {
  const of = (/** @type {string} */ topology) => curve(rows.filter((row) => row.topology === topology), ({ idle }) => idle[what])
  const [single, several] = [of('single'), of('cluster')]
  return { single, cluster: (members) => Math.max(single(members), several(members)) }
}

/** What a user, a socket, a member and so on cost, as measured last. @param {Figures} figures */
function costs (figures) {
  const { latency, memory, members, carry, people } = figures
  if (latency === undefined || memory === undefined || members === undefined || carry === undefined || people === undefined) throw new NotMeasured()
  const bytes = (/** @type {string} */ kind) => {
    const rows = memory.figures.rows.filter((/** @type {any} */ row) => row.kind === kind)
    if (rows.length === 0) throw new NotMeasured()
    const { redis, count } = rows.at(-1)
    return { each: redis, upTo: count }
  }
  const { rows } = members.figures
  const mostOf = (/** @type {string} */ topology) => Math.max(0, ...rows.filter((/** @type {any} */ row) => row.topology === topology).map((/** @type {any} */ row) => row.members))
  if (mostOf('single') === 0) throw new NotMeasured()
  return {
    session: { bytes: carry.figures.sessions.bytesEach, upTo: carry.figures.sessions.count },
    people: people.figures,
    presence: bytes('presence entry'),
    report: bytes('health report'),
    point: bytes('health history point'),
    cached: bytes('cached value'),
    history: bytes('history message'),
    member: { core: idleCosts(rows, 'core'), kib: idleCosts(rows, 'kib'), upTo: { single: mostOf('single'), cluster: mostOf('cluster') } },
    request: { ...latency.figures.request, upTo: latency.figures.request.perSecond }
  }
}

/** @param {Figures} figures @param {number} users @param {Partial<Assumptions>} [given] @returns {Site} */
export function siteOf (figures, users, given = {}) {
  const site = assumed(given)
  const cost = costs(figures)
  const { people } = cost
  const sessions = users * site.sessions
  const online = users * site.online
  const sockets = online * site.tabs
  const requests = online * site.requests
  // Nobody hears a message where there are no sockets, and a room has no more than there are.
  const messages = sockets === 0 ? 0 : online * site.messages
  const room = Math.min(site.room, Math.max(1, sockets))
  const work = { requests: requests * (cost.request.workerUs / 1e6 + site.handler / 1e3), messages: messages * room * people.deliveryUs / 1e6, sockets: sockets * people.idleUsEachPerSecond / 1e6 }
  const workCores = sum(Object.values(work))
  const [bySockets, byWork] = [Math.ceil(sockets / site.sockets), Math.ceil(workCores / site.busy)]
  const workers = carrying(Math.max(site.workers, bySockets, byWork), workCores, Math.max(MOST_LEFT, site.busy))
  const { servers, lost, left } = loss(workers)
  // A message to a room goes to the workers that have somebody in it. To fewer than were measured it is not taken for cheaper.
  const hearers = Math.min(room, workers)
  const times = messages * Math.max(1, hearers / Math.min(people.workers, people.room))
  const parts = {
    sessions: sessions * cost.session.bytes,
    sockets: sockets * people.redisBytesEach,
    presence: online * cost.presence.each,
    history: site.history * cost.history.each,
    cache: site.cached * cost.cached.each,
    reports: workers * (cost.report.each + site.points * cost.point.each)
  }
  const data = sum(Object.values(parts)) / 2 ** 30
  const forRequests = requests * cost.request.redisUs / 1e6
  const forMessages = times * people.messageRedisUs / 1e6
  const isCluster = cost.member.core.single(workers) + forMessages + forRequests > site.busy || data > site.primary
  const topology = isCluster ? 'cluster' : 'single'
  const cores = { members: cost.member.core[topology](workers), messages: forMessages, requests: forRequests }
  const network = cost.member.kib[topology](workers) / 1024 + (times * people.messageRedisBytes + requests * cost.request.redisBytes) / 2 ** 20
  // They open sockets with what their work leaves of a core.
  const coming = sockets / workers * lost
  const free = { worker: restOf(workCores / left) * left, redis: restOf(cores.members + cores.messages + (isCluster ? 0 : forRequests)) }
  const windowMs = Math.max(DEFAULT_WINDOW_MS, Math.ceil(coming * Math.max(people.openUs / free.worker, people.openRedisUs / free.redis) / 1000))
  const isTooMuch = cores.members + cores.messages > site.busy
  // The log that all members share is one key, which no Cluster spreads: one primary is for that alone, where one cannot do everything.
  const forWork = sum(Object.values(cores)) <= site.busy ? 1 : 1 + Math.ceil(forRequests / site.busy)
  const primaries = isCluster ? Math.max(LEAST_OF_CLUSTER, forWork, Math.ceil(data / site.primary)) : 1
  const isBeyond = { sessions: sessions > cost.session.upTo, sockets: sockets > people.count, requests: requests > cost.request.upTo }
  // What is made of a number that was not measured was not measured either.
  const isWorkersBeyond = isBeyond.sockets || isBeyond.requests || workers > cost.member.upTo[topology]
  const isDataBeyond = isWorkersBeyond || isBeyond.sessions || online > cost.presence.upTo || site.history > cost.history.upTo || site.cached > cost.cached.upTo ||
    workers > cost.report.upTo || workers * site.points > cost.point.upTo
  // Requests and messages were measured on one server.
  const isWorkBeyond = isWorkersBeyond || messages > people.messagesPerSecond || (messages > 0 && hearers > people.workers) || (isCluster && requests + messages > 0)
  const line = (/** @type {string} */ name, /** @type {number} */ value, /** @type {string} */ unit, /** @type {boolean} */ extrapolated, /** @type {string} */ why) => ({ name, value, unit, extrapolated, why })
  return {
    users,
    lines: [
      line('sessions', sessions, '', isBeyond.sessions, `${site.sessions} of each user`),
      line('sockets at the busiest hour', sockets, '', isBeyond.sockets, `${site.online} of the users, ${site.tabs} each`),
      line('requests a second', requests, '', isBeyond.requests, `${site.requests} of each who is there`),
      line('workers', workers, '', isWorkersBeyond, whyWorkers({ bySockets, byWork, workers, work }, site)),
      line(`servers of ${PER_SERVER} workers`, servers, '', isWorkersBeyond, 'one more than those workers fill, so that one may go'),
      line('memory of a worker for sockets', sockets / workers * people.bytesEach / 2 ** 20, 'MiB', isWorkersBeyond, 'beside that of the application'),
      line('reconnectWindowMs at least', windowMs, 'ms', isWorkersBeyond || coming / windowMs * 1000 > people.openedPerSecond, `where a server is lost: ${Math.round(coming).toLocaleString('en')} sockets come to ${left} other workers`),
      line('Redis: data', data * 1024, 'MiB', isDataBeyond, largestOf(parts)),
      line('Redis: maxmemory', data * 1024 * site.headroom, 'MiB', isDataBeyond, `${site.headroom} times the data${primaries > 1 ? ', of all primaries together' : ''}`),
      line('Redis: work', sum(Object.values(cores)), 'cores', isWorkBeyond, largestOf(cores)),
      line('Redis: network', network, 'MiB/s', isWorkBeyond, 'what it sends to workers; to each replica it sends what is written besides'),
      line('Redis: primaries', primaries, '', isDataBeyond || isWorkBeyond, `${site.busy} of a core and ${site.primary} GiB each${forWork > 1 ? ', one for what all members share' : ''}`)
    ],
    redis: primaries > 1 ? `Redis Cluster of ${primaries.toLocaleString('en')} primaries with a replica each` : 'Sentinel: one primary and two replicas; one server alone where an outage of Redis may last as long as its restart',
    isTooMuch
  }
}

/** What is lost with a server, of which there is one more than so many workers fill. @param {number} workers */
function loss (workers) {
  const servers = Math.ceil(workers / PER_SERVER) + 1
  const lost = Math.ceil(workers / servers)
  return { servers, lost, left: Math.max(1, workers - lost) }
}

/** As many, or so many more that those who are left where a server is lost carry the work of all. @param {number} least @param {number} workCores @param {number} most of a core of each */
function carrying (least, workCores, most) {
  let workers = least
  while (workCores > most * loss(workers).left) workers++
  return workers
}

/** What is free of a core; where it is full, next to nothing. @param {number} used */
const restOf = (used) => Math.max(0.05, 1 - used)

/** @param {{ bySockets: number, byWork: number, workers: number, work: Record<string, number> }} needed @param {Assumptions} site */
function whyWorkers ({ bySockets, byWork, workers, work }, site) {
  if (workers === byWork && byWork > bySockets) return `${site.busy} of a core each: ${largestOf(work)}`
  if (workers > Math.max(bySockets, byWork, site.workers)) return `those left where a server is lost carry the work of all: ${largestOf(work)}`
  if (workers === bySockets && workers > ASSUMPTIONS.workers.value) return `${site.sockets.toLocaleString('en')} sockets each`
  return site.workers > ASSUMPTIONS.workers.value ? 'as many as you said' : 'two, so that one may go'
}

/** @param {number[]} values */
const sum = (values) => values.reduce((all, value) => all + value, 0)

/** @param {Record<string, number>} parts */
function largestOf (parts) {
  const [name, most] = Object.entries(parts).reduce((a, b) => b[1] > a[1] ? b : a)
  return most === 0 ? 'nothing' : `${Math.round(most / sum(Object.values(parts)) * 100)}% for ${name}`
}
