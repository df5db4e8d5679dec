import type { RedisClient } from '@jpulse/redis-link'

const helpers = `
local function int(n) return string.format('%.0f', n) end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = clock()
`

/**
 * Start of what uses a log: its epoch and last number. It is made where there is none, and takes a turn where it ends before
 * a place that the caller knows of: it went back (a failover lost its end). `base` is where what a turn brought begins.
 */
const openLog = `
local function partsOf(epoch)
  local root, turn = string.match(epoch, '^([^-]+)-?(%d*)$')
  return root, tonumber(turn) or 0
end
local function turnOf(epoch, least)
  local root, turn = partsOf(epoch)
  return (root or epoch) .. '-' .. int(math.max(turn, least or 0) + 1)
end
local function openLog(state, log, candidate, known, knownSeq)
  local epoch, seq = unpack(redis.call('HMGET', state, 'epoch', 'seq'))
  if not epoch then
    redis.call('DEL', log)
    redis.call('HSET', state, 'epoch', candidate, 'seq', 0, 'base', 0, 'markSeq', 0, 'markAt', int(now))
    return candidate, 0
  end
  seq = tonumber(seq)
  local root, turn = partsOf(epoch)
  local knownRoot, knownTurn = partsOf(known)
  if root and root == knownRoot and (turn < knownTurn or (turn == knownTurn and seq < tonumber(knownSeq))) then
    epoch = turnOf(epoch, knownTurn)
    redis.call('HSET', state, 'epoch', epoch, 'base', int(seq))
  end
  return epoch, seq
end
`

/** How long a committed batch is recognised when it is sent again, in milliseconds. */
const PUBLISHER_MS = 300_000

/**
 * Appends runs of messages to a namespace's log and hands each to those who listen.
 *
 * KEYS state, log, publisher; ARGV candidate epoch, epoch and number of the furthest place that the caller knows of, number
 * of the batch's last message by its publisher, publisher, length of the log, age of the log in ms, life of the state in ms,
 * messages between two marks, channel of all, then for each run its channel, topic, count and lines. Returns { epoch, number
 * of the last message }.
 *
 * Closes: numbering and publishing apart, two publishers' messages would reach the processes in another order than the
 * log's; a batch that is sent again after a lost answer is recognised by its publisher's number and not appended twice;
 * a log whose state was lost, or that went back, is another log, so nobody mistakes new numbers for old ones. A mark tells
 * the processes how far the log is, in order with what they hear, for clients that nothing was meant for.
 */
const commitLua = `${helpers}${openLog}
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local before, last, publisher, maxLength, maxAge, every = seq, ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
local done = tonumber(redis.call('GET', KEYS[3]) or 0)
if #ARGV > 10 and done < tonumber(last) then
  for i = 11, #ARGV, 4 do
    local first = seq + 1
    seq = seq + tonumber(ARGV[i + 2])
    local frame = epoch .. ' ' .. int(first) .. ' ' .. int(seq) .. ' ' .. publisher .. '\\n' .. ARGV[i + 3]
    local keepFrom = math.max(seq - maxLength + 1, 0)
    redis.call('XADD', KEYS[2], 'MINID', '=', int(keepFrom) .. '-0', int(seq) .. '-0', 't', ARGV[i + 1], 'f', frame, 'm', int(now))
    redis.call('PUBLISH', ARGV[i], frame)
  end
  redis.call('HSET', KEYS[1], 'seq', int(seq))
  redis.call('SET', KEYS[3], last, 'PX', ${PUBLISHER_MS})
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
local markSeq, markAt = unpack(redis.call('HMGET', KEYS[1], 'markSeq', 'markAt'))
if seq > tonumber(markSeq or 0) and (math.floor(seq / every) > math.floor(before / every) or now - tonumber(markAt or 0) > maxAge / 4) then
  redis.call('HSET', KEYS[1], 'markSeq', int(seq), 'markAt', int(now))
  redis.call('PUBLISH', ARGV[10], epoch .. ' ' .. int(seq + 1) .. ' ' .. int(seq) .. ' ' .. publisher .. '\\n')
end
return { epoch, int(seq) }
`

/**
 * Reads the log after a number. KEYS state, log; ARGV candidate epoch, epoch and number of the furthest place that the caller
 * knows of, number, most runs, life of the state in ms. Returns { epoch, number of the last message, number where the epoch
 * began, now, [[id, [field, value, …]], …] }.
 *
 * Closes: read apart, a run that is added in between looks like a lost one.
 */
const readLua = `${helpers}${openLog}
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
local entries = {}
if ARGV[5] ~= '0' then entries = redis.call('XRANGE', KEYS[2], int(tonumber(ARGV[4]) + 1) .. '-0', '+', 'COUNT', ARGV[5]) end
return { epoch, int(seq), redis.call('HGET', KEYS[1], 'base') or '0', int(now), entries }
`

/**
 * Says to everybody that the log went back, by who reads there what it does not know. KEYS state; ARGV its epoch, number
 * after which everybody reads on. Returns 1, or 0 where somebody was faster.
 */
const turnLua = `${helpers}${openLog}
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', turnOf(ARGV[1]), 'base', ARGV[2])
return 1
`

/**
 * Renews an instance's lease in a namespace, notes who came and went there, and removes instances that are dead.
 *
 * KEYS online, leases, beats; ARGV candidate generation, token of the instance, lease in ms, channel, token of an
 * instance that is known to be dead or '', 1 where the instance has users, then user and 1 or 0 in turn. Returns { generation, 1 where the lease was known before }.
 *
 * Closes: two workers that see a user's first or last socket at once announce it once; an instance that was taken for dead
 * learns it and comes again; a pause in which nobody could renew (Redis was away) counts as one renewal, a third of a
 * lease, and a long one not at all, else the first who is back would take the slower ones for dead.
 */
const presenceLua = `${helpers}
local lease, token = tonumber(ARGV[3]), ARGV[2]
local gen = redis.call('HGET', KEYS[3], 'gen')
if not gen then
  gen = ARGV[1]
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[3], 'gen', gen)
end
local joined, left = {}, {}
local function without(text, gone)
  local kept = {}
  for one in string.gmatch(text, '%S+') do if not gone[one] then kept[#kept + 1] = one end end
  return table.concat(kept, ' ')
end
local function keep(user, tokens)
  if tokens == '' then
    redis.call('HDEL', KEYS[1], user)
    left[#left + 1] = user
  else redis.call('HSET', KEYS[1], user, tokens) end
end
local pause = now - tonumber(redis.call('HGET', KEYS[3], 'beatAt') or now)
if pause > lease / 3 then
  local grant = pause > lease and pause or pause - lease / 3
  local leases = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
  for i = 1, #leases, 2 do redis.call('ZADD', KEYS[2], 'GT', int(math.min(leases[i + 1] + grant, now + lease)), leases[i]) end
end
redis.call('HSET', KEYS[3], 'beatAt', int(now))
local known = redis.call('ZSCORE', KEYS[2], token)
for i = 7, #ARGV, 2 do
  local user = ARGV[i]
  local tokens = redis.call('HGET', KEYS[1], user) or ''
  local others = without(tokens, { [token] = true })
  if ARGV[i + 1] == '1' then
    if tokens == '' then joined[#joined + 1] = user end
    redis.call('HSET', KEYS[1], user, others == '' and token or others .. ' ' .. token)
  elseif tokens ~= '' then keep(user, others) end
end
if ARGV[6] == '1' then redis.call('ZADD', KEYS[2], int(now + lease), token) else redis.call('ZREM', KEYS[2], token) end
local dead = {}
local some = false
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now))) do dead[one] = true some = true end
if ARGV[5] ~= '' and redis.call('ZSCORE', KEYS[2], ARGV[5]) then dead[ARGV[5]] = true some = true end
if some then
  for one in pairs(dead) do redis.call('ZREM', KEYS[2], one) end
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local kept = without(all[i + 1], dead)
    if kept ~= all[i + 1] then keep(all[i], kept) end
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3])
else for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], int(4 * lease)) end end
if #joined > 0 then redis.call('PUBLISH', ARGV[4], '+' .. cjson.encode(joined)) end
if #left > 0 then redis.call('PUBLISH', ARGV[4], '-' .. cjson.encode(left)) end
return { gen, known and 1 or 0 }
`

/**
 * Who is online. KEYS online, leases; ARGV a user, or nothing for all. Returns user and tokens in turn, tokens of the
 * dead among them, and the tokens that live.
 */
const onlineLua = `${helpers}
local users
if ARGV[1] then users = { ARGV[1], redis.call('HGET', KEYS[1], ARGV[1]) or '' } else users = redis.call('HGETALL', KEYS[1]) end
return { users, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. int(now), '+inf') }
`

type Entries = Array<[id: Buffer, fields: Buffer[]]>

/** The commands that the scripts define, as ioredis offers them. */
export interface Commands {
  wsNamespacesCommitV1 (...keysAndArgs: Array<string | number>): Promise<[epoch: string, seq: string]>
  wsNamespacesReadV1Buffer (state: string, log: string, candidate: string, known: string, knownSeq: number, after: number, count: number, stateMs: number):
  Promise<[epoch: Buffer, seq: Buffer, base: Buffer, now: Buffer, entries: Entries]>
  wsNamespacesTurnV1 (state: string, epoch: string, base: number): Promise<number>
  wsNamespacesPresenceV1 (...keysAndArgs: Array<string | number>): Promise<[gen: string, known: number]>
  wsNamespacesOnlineV1 (...keysAndArgs: string[]): Promise<[users: string[], living: string[]]>
}

const SCRIPTS: ReadonlyArray<[name: string, numberOfKeys: number, lua: string]> = [
  ['wsNamespacesCommitV1', 3, commitLua],
  ['wsNamespacesReadV1', 2, readLua],
  ['wsNamespacesTurnV1', 1, turnLua],
  ['wsNamespacesPresenceV1', 3, presenceLua],
  ['wsNamespacesOnlineV1', 2, onlineLua]
]

/** Defines the commands on a client. */
export function defineScripts (client: RedisClient): void {
  for (const [name, numberOfKeys, lua] of SCRIPTS) client.defineCommand(name, { numberOfKeys, lua })
}
