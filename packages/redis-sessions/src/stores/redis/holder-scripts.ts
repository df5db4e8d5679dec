import { defineScript, reply, type Script } from '@jpulse/redis-link'
import * as scripts from './scripts.ts'
import type { SessionScript } from './scripts.ts'

/**
 * Who has copies of a session: a text beside it, in the slot of its group, as docs/local-reads.md says.
 *
 *   H1<server> <who> <mark>
 *
 * `server`: which history of which server it is of, so that none counts which a restart, a failover or the move of a slot brought
 * back: a primary has a `master_replid` that is new with each start and each promotion. `who`: `-` nobody, the holder that alone may have one, or `*` nobody knows. `mark`: of who last took a copy, or of the change
 * that made it `*`. One that is not there says `*`.
 */
const holders = `
local function server()
  local text = redis.pcall('INFO', 'replication')
  return type(text) == 'string' and string.match(text, 'master_replid:(%w+)')
end
local function entry(key)
  local text = redis.call('MGET', key)[1] or ''
  return string.match(text, '^H1(%w+) (%S+) ?(%S*)$')
end
local function note(key, run, who, mark, ttl)
  local set = run and redis.pcall('SET', key, 'H1' .. run .. ' ' .. who .. ' ' .. mark, 'PX', ttl)
  if set and not set.err then return true end
  redis.call('UNLINK', key)
  return false
end
`

/** Answer of a script that changed nothing, because others may have copies. */
export const SHARED = -2

/** The entry outlives the session, so that it is not the one that is missing. */
const STAYS_MS = 60_000

const KEYS = ['session', 'watermark', 'index', 'notices', 'holders'] as const

type Asking<Own extends readonly string[]> = readonly [...Own, self: 'self', taken: 'taken', mark: 'mark']

/** A script of the keys of one session and of its entry in the directory. */
export type HeldScript<Reply, Args extends readonly string[]> = Script<Reply, typeof KEYS, Args>

const askings = new Map<unknown, unknown>()

/**
 * One of the scripts that change a session, with what it has to ask the directory first. Behind its own ARGV: who changes, the mark
 * with which he last took a copy, and '' where nothing is to be changed if others may have copies (returns SHARED then), or the
 * mark of a change of which they are told.
 *
 * Closes: between the look and the change nobody gets a copy, since it is one step, and so is the read of who takes one. A change
 * that arrives when its sender has long given it up is refused where he took a copy since.
 *
 * @param idle position in ARGV of the idle timeout, 0 where the session ends
 */
function asking<Reply, const Own extends readonly string[]> (script: SessionScript<Reply, Own>, idle: number): void {
  const self = script.args.length + 1
  askings.set(script, defineScript({
    name: script.name.replace(/V(\d+)$/, 'HeldV$1'),
    keys: KEYS,
    args: [...script.args, 'self', 'taken', 'mark'],
    reply: script.reply,
    lua: `${holders}
local run, mark = server(), ARGV[${self + 2}]
local ttl = ${idle === 0 ? 0 : `ARGV[${idle}]`} + ${STAYS_MS}
if mark == '' then
  local known, who, taken = entry(KEYS[5])
  if not known or known ~= run or (who ~= '-' and (who ~= ARGV[${self}] or taken ~= ARGV[${self + 1}])) then return ${SHARED} end
  ${idle === 0 ? "redis.call('UNLINK', KEYS[5])" : "if redis.call('PTTL', KEYS[5]) < ttl then redis.call('PEXPIRE', KEYS[5], ttl) end"}
else
  ${idle === 0 ? "redis.call('UNLINK', KEYS[5])" : "note(KEYS[5], run, '*', mark, ttl)"}
end
${script.lua}`
  }))
}

/** What asks the directory before it runs a script; its last arguments are who changes, with which mark he last took a copy, and the mark of the change or ''. */
export function askingOf<Reply, const Own extends readonly string[]> (script: SessionScript<Reply, Own>): HeldScript<Reply | typeof SHARED, Asking<Own>> {
  return askings.get(script) as HeldScript<Reply | typeof SHARED, Asking<Own>>
}

asking(scripts.create, 3)
asking(scripts.replace, 4)
asking(scripts.remove, 0)
asking(scripts.takeBack, 0)

/** A session with an id that nobody has asked for: nobody has a copy of it. */
export const createUnheld = defineScript({
  name: 'redisSessionsCreateUnheldV1',
  keys: KEYS,
  args: scripts.create.args,
  reply: scripts.create.reply,
  lua: `${holders}
if redis.call('EXISTS', KEYS[1]) == 0 then note(KEYS[5], server(), '-', '', ARGV[3] + ${STAYS_MS}) end
${scripts.create.lua}`
})

/** Slides both. */
export const touch = defineScript({
  name: 'redisSessionsTouchHeldV1',
  keys: KEYS,
  args: scripts.touch.args,
  reply: scripts.touch.reply,
  lua: `
local ttl = ARGV[1] + ${STAYS_MS}
if redis.call('PTTL', KEYS[5]) < ttl then redis.call('PEXPIRE', KEYS[5], ttl) end
${scripts.touch.lua}`
})

/**
 * Reads a session of which a copy will be kept. KEYS: session, watermark, holders; ARGV: 1 who, 2 a mark that nobody had before.
 * Returns the text, the watermark, and how many ms it lives unless it is seen again, 0 where no copy may be kept.
 *
 * Closes: who changes the session alone reads in the same step that nobody else has a copy. A full server that refuses the note
 * must not refuse the read.
 */
export const take = defineScript({
  name: 'redisSessionsTakeV1',
  keys: ['session', 'watermark', 'holders'],
  args: ['self', 'mark'],
  reply: reply<[text: string | null, mark: string | null, leftMs: number]>(),
  lua: `${holders}
local values = redis.call('MGET', KEYS[1], KEYS[2])
if not values[1] then return { false, values[2], 0 } end
local left = redis.call('PTTL', KEYS[1])
local run = server()
local known, who = entry(KEYS[3])
if not known or known ~= run then who = '*'
elseif who == '-' then who = ARGV[1]
elseif who ~= ARGV[1] then who = '*' end
local noted = note(KEYS[3], run, who, ARGV[2], math.max(left, 0) + ${STAYS_MS})
return { values[1], values[2], (noted or not run) and math.max(left, 0) or 0 }
`
})

/**
 * Nobody has a copy of what was before a change of which everybody was told, and nobody took one since. KEYS: holders; ARGV: 1 mark of the change.
 */
export const settle = defineScript({
  name: 'redisSessionsSettleV1',
  keys: ['holders'],
  args: ['mark'],
  reply: reply<number>(),
  lua: `${holders}
local known, who, mark = entry(KEYS[1])
if not known or known ~= server() or who ~= '*' or mark ~= ARGV[1] then return 0 end
note(KEYS[1], known, '-', '', math.max(1, redis.call('PTTL', KEYS[1])))
return 1
`
})
