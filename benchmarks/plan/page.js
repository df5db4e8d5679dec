import { ASSUMPTIONS } from './assumptions.js'
import { BOUNDS } from './bounds.js'
import { siteOf } from './model.js'

/** @typedef {import('./model.js').Figures} Figures */

/** Parts of the page that figures make, by the name of their mark, with the measurements that each needs. @type {Record<string, { needs: string[], render: (figures: any) => string }>} */
const BLOCKS = {
  latency: { needs: ['latency'], render: ({ latency }) => latencyTable(latency.figures) },
  memory: { needs: ['memory'], render: ({ memory }) => memoryTable(memory.figures) },
  'members-cost': { needs: ['members'], render: ({ members }) => costTable(members.figures) },
  'members-latency': { needs: ['members'], render: ({ members }) => memberTable(members.figures) },
  'members-change': { needs: ['members'], render: ({ members }) => changeTable(members.figures) },
  'members-growth': { needs: ['members'], render: ({ members }) => growthTable(members.figures) },
  bounds: { needs: ['members'], render: ({ members }) => boundsTable(members.figures) },
  carry: { needs: ['carry'], render: ({ carry }) => carryTable(carry.figures) },
  people: { needs: ['people'], render: ({ people }) => peopleTable(people.figures) },
  capacity: { needs: ['latency', 'memory', 'members', 'carry', 'people'], render: capacityTable }
}

/** Names of the marks, in no order. */
export const MARKS = Object.keys(BLOCKS)

/**
 * The page with each part between its marks made anew, where it was measured.
 *
 * @param {string} page @param {Figures} figures
 */
export function fill (page, figures) {
  return MARKS.reduce((text, name) => {
    const { needs, render } = /** @type {NonNullable<typeof BLOCKS[string]>} */ (BLOCKS[name])
    const [begin, end] = [`<!-- plan:${name} -->`, `<!-- /plan:${name} -->`]
    const [from, to] = [text.indexOf(begin), text.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`the page has no ${begin} … ${end}`)
    if (needs.some((need) => figures[need] === undefined)) return text
    const commands = new Set(needs.map((need) => `\`${figures[need]?.command}\`, ${figures[need]?.date}, ${figures[need]?.machine}`))
    return `${text.slice(0, from)}${begin}\n${[...commands].join('; ')}:\n\n${render(figures)}\n${text.slice(to)}`
  }, page)
}

/** @param {string[]} head @param {Array<Array<string | number>>} rows */
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

/** @param {number} value */
const number = (value) => value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(2)))
/** @param {boolean} holds */
const verdict = (holds) => holds ? 'yes' : '**no**'

/** @param {any} figures */
function latencyTable ({ rows, mongo, request }) {
  return `${table(['operation', 'p50, ms', 'p99, ms', 'the plan: at most, ms', 'p50 within', 'p99 within'], Object.entries(rows).map(([name, { p50, p99 }]) => {
    const bound = /** @type {Record<string, number>} */ (BOUNDS)[name] ?? NaN
    return [name, number(p50), number(p99), bound, verdict(p50 < bound), verdict(p99 < bound)]
  }))}

The database: ${mongo}. A request that reads its session and one setting: ${number(request.perSecond)} a second from one worker with 20 connections, ${number(request.workerUs)} µs of CPU of the worker each, ${number(request.redisUs)} of Redis.`
}

/** @param {number | null} bytes */
const orNone = (bytes) => bytes === null ? '–' : number(Math.max(0, bytes))

/** @param {any} figures */
function memoryTable ({ rows, planned, aggregates }) {
  return `${table(['kind', 'of them', 'in Redis, bytes each', 'the plan, bytes each', 'in a process beside Redis, bytes each', 'in a process without Redis, bytes each'],
    rows.map((/** @type {any} */ { kind, count, redis, process, alone }) => [kind, number(count), number(redis), planned[kind] ?? '–', orNone(process), orNone(alone)]))}

The picture of so many health reports took ${Object.entries(aggregates).map(([count, ms]) => `${number(Number(ms))} ms of ${number(Number(count))}`).join(', ')}, read for the first time.`
}

/** @param {any} figures */
function costTable ({ rows, load }) {
  const per = (/** @type {any} */ { commands, kib, core }) => [number(commands), number(kib), number(core * 100)]
  return `${table(['Redis', 'members', 'idle: commands/s', 'KiB/s', '% of a core', 'loaded: commands/s', 'KiB/s', '% of a core'],
    rows.map((/** @type {any} */ { topology, members, idle, loaded }) => [topology, members, ...per(idle), ...per(loaded)]))}

The load: each member reads ${load.readsEach} value a second from the cache; ${load.messages} messages and ${load.writes} coherent write a second of all together. Commands within scripts are counted.`
}

/** @param {any} figures */
function memberTable ({ rows }) {
  return table(['Redis', 'members', 'message to the last member: p50, ms', 'p99, ms', 'messages/s', 'deliveries/s', 'coherent write: p50, ms', 'p99, ms', 'the least of it: p50, ms', 'p99, ms', 'aggregate: p50, ms', 'p99, ms'],
    rows.map((/** @type {any} */ { topology, members, broadcast, throughput, write, floor, aggregate }) =>
      [topology, members, ...[broadcast.p50, broadcast.p99, throughput.messages, throughput.deliveries, write.p50, write.p99].map(number), ...floor ? [number(floor.p50), number(floor.p99)] : ['–', '–'], number(aggregate.p50), number(aggregate.p99)]))
}

/** @param {any} figures */
function changeTable ({ rows, users, leaseMs }) {
  const single = rows.filter((/** @type {any} */ { loss }) => loss !== undefined)
  return `${table(['members', 'deploy of all: s', 'Redis, CPU ms each', 'KiB each', `${number(users)} users: list, ms`, 'one, p99 ms', 'idle, % of a core', 'lost at once', 'seen by all after, ms', 'their users gone after, ms', 'Redis meanwhile, CPU ms', 'longest PING, ms', 'coherent write meanwhile, p99 ms'],
    single.map((/** @type {any} */ { members, deploy, presence, loss }) => [members, number(deploy.seconds), number(deploy.cpuMsEach), number(deploy.kibEach), number(presence.listMs), number(presence.online.p99), number(presence.idle.core * 100),
      loss.lost, number(loss.seenMs), number(loss.usersGoneMs), number(loss.cpuMs), number(loss.longestPingMs), number(loss.writeP99Ms)]))}

Of one server. The lease of a member is ${number(leaseMs)} ms here, so that processes of a hundred members outlast their own starts.`
}

/** Costs for each member, of which it is told how they grow with the number of members. */
const GROWING = /** @type {Array<[name: string, of: (row: any) => number | undefined]>} */ ([
  ['idle: commands', ({ idle, members }) => idle.commands / members],
  ['idle: CPU of Redis', ({ idle, members }) => idle.core / members],
  ['idle: output', ({ idle, members }) => idle.kib / members],
  ['loaded: commands', ({ loaded, members }) => loaded.commands / members],
  ['loaded: CPU of Redis', ({ loaded, members }) => loaded.core / members],
  ['coherent write, p50', ({ write, members }) => write.p50 / members],
  ['message to all, p50', ({ broadcast, members }) => broadcast.p50 / members],
  ['deploy: CPU of Redis', ({ deploy }) => deploy?.cpuMsEach],
  ['deploy: output', ({ deploy }) => deploy?.kibEach],
  ['loss: CPU of Redis', ({ loss, members }) => loss && loss.cpuMs / members]
])

/** @param {any} figures @returns {Array<{ topology: string, name: string, from: number, to: number, exponent: number, isWithin: boolean, isTotalWithin: boolean }>} whether the cost for each member, and that of all, grew as n log n at most */
export function growth ({ rows }) {
  const topologies = [...new Set(rows.map((/** @type {any} */ { topology }) => topology))]
  return topologies.flatMap((topology) => {
    const [before, last] = rows.filter((/** @type {any} */ row) => row.topology === topology).slice(-2)
    if (last === undefined) return []
    return GROWING.flatMap(([name, of]) => {
      const [a, b] = [of(before), of(last)]
      if (a === undefined || b === undefined) return []
      const [ratio, more] = [b / a, last.members / before.members]
      const most = more * Math.log(last.members) / Math.log(before.members)
      return [{ topology, name, from: before.members, to: last.members, exponent: Math.log(ratio) / Math.log(more), isWithin: ratio <= most, isTotalWithin: ratio * more <= most }]
    })
  })
}

/** @param {any} figures */
function growthTable (figures) {
  return table(['Redis', 'cost', 'members', 'for each member: exponent', 'at most n log n', 'for all: exponent', 'at most n log n'],
    growth(figures).map(({ topology, name, from, to, exponent, isWithin, isTotalWithin }) => [topology, name, `${from} to ${to}`, exponent.toFixed(2), verdict(isWithin), (exponent + 1).toFixed(2), verdict(isTotalWithin)]))
}

/** @param {any} figures */
function boundsTable ({ rows, failed }) {
  /** @type {Array<[what: string, members: number, bound: number, of: (row: any) => number]>} */
  const wanted = [
    ['aggregate, p99', 400, 50, ({ aggregate }) => aggregate.p99],
    ['message to the last member, p99', 64, 5, ({ broadcast }) => broadcast.p99],
    ['coherent write, p99', 64, 10, ({ write }) => write.p99],
    ['coherent write, p99', 400, 30, ({ write }) => write.p99]
  ]
  return `${table(['what', 'members', 'Redis', 'measured, ms', 'at most, ms', 'holds'], wanted.flatMap(([what, members, bound, of]) => ['single', 'cluster'].map((topology) => {
    const row = rows.find((/** @type {any} */ one) => one.topology === topology && one.members === members)
    return row === undefined ? [what, members, topology, 'not measured', bound, '–'] : [what, members, topology, number(of(row)), bound, verdict(of(row) < bound)]
  })))}${failed.map((/** @type {string} */ text) => `\n\nNot measured to the end: ${text}.`).join('')}`
}

/** @param {any} figures */
function carryTable ({ sessions, sockets }) {
  return `${table(['sessions', 'data in Redis, MiB', 'bytes each', 'made a second', 'read: p50, ms', 'p99, ms', 'counted in, ms'],
    [[number(sessions.count), number(sessions.redisMib), number(sessions.bytesEach), number(sessions.madePerSecond), number(sessions.readP50), number(sessions.readP99), number(sessions.countMs)]])}

${table(['sockets', 'workers', 'resident, bytes each', 'in Redis, bytes each', 'opened a second', 'idle: CPU µs each and second', 'a message: CPU µs each', 'to all of them, ms'],
    [[`${number(sockets.count)}${sockets.count < sockets.wanted ? ` of ${number(sockets.wanted)}` : ''}`, sockets.workers, number(sockets.bytesEach), number(Math.max(0, sockets.redisBytesEach)), number(sockets.openedPerSecond), number(sockets.idleUsEachPerSecond), number(sockets.deliveryUs), number(sockets.toAllMs)]])}`
}

/** @param {any} people */
function peopleTable (people) {
  return `${table(['sockets of users', 'workers', 'resident, bytes each', 'in Redis, bytes each', 'opened a second', 'an opening: CPU µs of the worker', 'of Redis', 'idle: CPU µs each and second'],
    [[number(people.count), people.workers, number(people.bytesEach), number(people.redisBytesEach), number(people.openedPerSecond), number(people.openUs), number(people.openRedisUs), number(people.idleUsEachPerSecond)]])}

${table(['messages to rooms, a second', 'sockets in a room', 'a message: CPU µs of Redis', 'bytes that it sends', 'CPU µs of workers, for each socket'],
    [[number(people.messagesPerSecond), people.room, number(people.messageRedisUs), number(people.messageRedisBytes), number(people.deliveryUs)]])}`
}

/** Of how many users the page tells. */
export const USERS = [10_000, 100_000, 1_000_000]

/** @param {Figures} figures */
function capacityTable (figures) {
  const sites = USERS.map((users) => siteOf(figures, users))
  const [first] = /** @type {[typeof sites[number]]} */ (sites)
  return `${table(['by the model', ...sites.map(({ users }) => `${number(users)} users`)], first.lines.map(({ name, unit }, index) => [
    `${name}${unit === '' ? '' : `, ${unit}`}`, ...sites.map(({ lines }) => cell(/** @type {import('./model.js').Line} */ (lines[index])))
  ]))}

${sites.map(({ users, redis, isTooMuch }) => `- ${number(users)} users: ${redis}.${isTooMuch ? ` ${TOO_MUCH}` : ''}`).join('\n')}

Assumed: ${Object.entries(ASSUMPTIONS).map(([name, { value }]) => `${name} ${value}`).join(', ')}.`
}

const TOO_MUCH = 'What all members share is more than one primary should carry: docs/scale.md says what to do.'

/** @param {import('./model.js').Line} line */
const cell = ({ value, extrapolated }) => `${number(value)}${extrapolated ? ' (extrapolated)' : ''}`

/** @param {import('./model.js').Site} site */
export function siteText ({ users, lines, redis, isTooMuch }) {
  const rows = lines.map(({ name, value, unit, extrapolated, why }) => [name, `${number(value)}${unit === '' ? '' : ` ${unit}`}${extrapolated ? ' (extrapolated)' : ''}`, why])
  const widest = (/** @type {number} */ column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  const [first, second] = [widest(0), widest(1)]
  return [
    `${number(users)} users, by the model of docs/scale.md:`,
    ...rows.map(([name, value, why]) => `  ${name?.padEnd(first)}  ${value?.padEnd(second)}  ${why}`),
    `  ${redis}`,
    ...isTooMuch ? [`  ${TOO_MUCH}`] : []
  ].join('\n')
}
