import type { RedisClient } from '@jpulse/redis-link'

/** Without any process that renews its lease, all is gone after an hour. */
const KEEP_MS = 3_600_000

/**
 * Start of every script: the epoch, made where there is none.
 *
 * The epoch is `<root>.<turn>`. Another root: the log began anew (Redis came back empty, or evicted it). Another turn:
 * the log went back (a failover or an old snapshot lost its end), as a process noticed that had seen more.
 */
const epochOf = `
local function epochOf(state, stream, candidate)
  local epoch = redis.call('HGET', state, 'epoch')
  if epoch then return epoch end
  redis.call('DEL', stream)
  redis.call('HSET', state, 'epoch', candidate .. '.0', 'seq', 0, 'mv', 0)
  redis.call('PEXPIRE', state, ${KEEP_MS})
  return candidate .. '.0'
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function int(number) return string.format('%.0f', number) end
`

/**
 * Publishes a batch, in order.
 *
 * KEYS state, stream, leases; ARGV candidate epoch, length of the log, '1' where the members are wanted, bus channel,
 * then for each run of messages: channel, number of messages, body. A number of 0 is not logged and goes to its own
 * channel as it is. Returns { epoch, number of the last logged message, boot ids of the members }.
 *
 * Closes: with XADD and PUBLISH apart, a subscriber that reads the log in between gets a message twice or never; and
 * with the members read apart, one that joins meanwhile is asked but not waited for, or waited for but not asked.
 */
const publishLua = `${epochOf}
local epoch = epochOf(KEYS[1], KEYS[2], ARGV[1])
local last = 0
for i = 5, #ARGV, 3 do
  local count = tonumber(ARGV[i + 1])
  if count == 0 then
    redis.call('PUBLISH', ARGV[i], ARGV[i + 2])
  else
    last = redis.call('HINCRBY', KEYS[1], 'seq', count)
    local frame = epoch .. ' ' .. int(last - count + 1) .. ' ' .. int(last) .. '\\n' .. ARGV[i + 2]
    local keepFrom = math.max(last - tonumber(ARGV[2]) + 1, 0)
    redis.call('XADD', KEYS[2], 'MINID', '=', int(keepFrom) .. '-0', int(last) .. '-0', 'f', frame)
    redis.call('PUBLISH', ARGV[4], frame)
  end
end
local members = {}
if ARGV[3] == '1' then members = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. int(now()), '+inf') end
return { epoch, last, members }
`

/**
 * Reads the log from a number on, inclusive: the reader recognises there whether it is still the log that it knew.
 *
 * KEYS state, stream; ARGV candidate epoch, number, most frames. Returns { epoch, number of the last message,
 * [[id, [field, frame]], …] }. Closes: read apart, a frame that is added in between looks like a lost one.
 */
const replayLua = `${epochOf}
local epoch = epochOf(KEYS[1], KEYS[2], ARGV[1])
return { epoch, redis.call('HGET', KEYS[1], 'seq'), redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', ARGV[3]) }
`

/**
 * Says to everybody that the log went back. KEYS state; ARGV the epoch that the caller read, its successor. Returns 1,
 * or 0 where somebody was faster.
 */
const turnLua = `
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
return 1
`

/**
 * Joins the cluster or renews the lease, and removes who let it lapse.
 *
 * KEYS state, stream, members, leases; ARGV candidate epoch, boot id, member as JSON, lease in ms, pause between two
 * renewals in ms, '<epoch> <mv>' of the members that the caller knows, membership channel.
 * Returns { epoch, number of the last message, mv, now, [boot id, end of lease, …], [boot id, JSON, …] }, the last one
 * empty where the caller knows it.
 *
 * Closes: the position in the log is read with the join, so a member hears exactly what is published after it. All
 * time is Redis'. A pause in which nobody could renew (Redis was away) counts as one heartbeat against a lease, a long
 * one not at all, else the first who is back would remove those who are slower.
 */
const beatLua = `${epochOf}
local function announce(epoch, sign, what)
  local mv = redis.call('HINCRBY', KEYS[1], 'mv', 1)
  redis.call('PUBLISH', ARGV[7], epoch .. ' ' .. int(mv) .. ' ' .. sign .. ' ' .. what)
end
local epoch = epochOf(KEYS[1], KEYS[2], ARGV[1])
local time, lease, heartbeat = now(), tonumber(ARGV[4]), tonumber(ARGV[5])
local renews = redis.call('ZSCORE', KEYS[4], ARGV[2])
local pause = time - tonumber(redis.call('HGET', KEYS[1], 'beatAt') or time)
if renews and pause > heartbeat then
  local grant = pause > 3 * heartbeat and pause or pause - heartbeat
  local leases = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
  for i = 1, #leases, 2 do redis.call('ZADD', KEYS[4], 'GT', math.min(leases[i + 1] + grant, time + lease), leases[i]) end
end
redis.call('HSET', KEYS[1], 'beatAt', time)
redis.call('ZADD', KEYS[4], time + lease, ARGV[2])
if redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3]) == 1 or not renews then announce(epoch, '+', ARGV[3]) end
for _, boot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', int(time))) do
  redis.call('ZREM', KEYS[4], boot)
  redis.call('HDEL', KEYS[3], boot)
  announce(epoch, '-', boot)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${KEEP_MS}) end
local seq, mv = unpack(redis.call('HMGET', KEYS[1], 'seq', 'mv'))
local members = {}
if epoch .. ' ' .. mv ~= ARGV[6] then members = redis.call('HGETALL', KEYS[3]) end
return { epoch, seq, mv, int(time), redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES'), members }
`

/** Leaves the cluster. KEYS state, members, leases; ARGV boot id, membership channel. Returns 1, or 0 where it was gone. */
const leaveLua = `
local gone = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if gone == 1 and epoch then
  local mv = redis.call('HINCRBY', KEYS[1], 'mv', 1)
  redis.call('PUBLISH', ARGV[2], epoch .. ' ' .. string.format('%.0f', mv) .. ' - ' .. ARGV[1])
end
return gone
`

/**
 * Claims a `once`.
 *
 * KEYS claim; ARGV token, time to live in ms, token of the holder that the caller waited for or ''.
 * Returns { 'won', 'running' or 'done', ms left, token of the holder }.
 *
 * Closes: who asks again after a lost answer recognises its own claim; and who waited, and wakes after the claim's end,
 * learns that the holder was done and does not do it once more.
 */
const claimLua = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state, holder, lapse = string.match(redis.call('GET', KEYS[1]) or '', '^(%l+) (%w+) (%d+)$')
if state == 'done' and holder == ARGV[3] then return { 'done', 0, holder } end
if state == 'running' and holder == ARGV[1] then return { 'won', redis.call('PTTL', KEYS[1]), holder } end
if state and tonumber(lapse) > now then return { state, tonumber(lapse) - now, holder } end
redis.call('SET', KEYS[1], 'running ' .. ARGV[1] .. ' ' .. string.format('%.0f', now + ARGV[2]), 'PX', ARGV[2])
return { 'won', tonumber(ARGV[2]), ARGV[1] }
`

/** How long a claim that is done can be recognised after its end, by those who waited for it. */
const DONE_MS = 10_000

/**
 * Marks a claim as done. KEYS claim; ARGV token, name, channel of those who wait. Returns 1, or 0 where it had lapsed.
 * Closes: a holder that was late must not end the claim of its successor.
 */
const doneLua = `
local state, holder, lapse = string.match(redis.call('GET', KEYS[1]) or '', '^(%l+) (%w+) (%d+)$')
if state ~= 'running' or holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done ' .. holder .. ' ' .. lapse, 'PX', redis.call('PTTL', KEYS[1]) + ${DONE_MS})
redis.call('PUBLISH', ARGV[3], ARGV[2])
return 1
`

/** The commands that the scripts define, as ioredis offers them. */
export interface Commands {
  clusterBroadcastPublishV1 (...keysAndArgs: Array<string | number>): Promise<[epoch: string, last: number, members: string[]]>
  clusterBroadcastReplayV1Buffer (state: string, stream: string, candidate: string, from: number, count: number):
  Promise<[epoch: Buffer, seq: Buffer, entries: Array<[id: Buffer, fields: Buffer[]]>]>
  clusterBroadcastTurnV1 (state: string, epoch: string, next: string): Promise<number>
  clusterBroadcastBeatV1 (...keysAndArgs: Array<string | number>):
  Promise<[epoch: string, seq: string, mv: string, now: string, leases: string[], members: string[]]>
  clusterBroadcastLeaveV1 (state: string, members: string, leases: string, bootId: string, channel: string): Promise<number>
  clusterBroadcastClaimV1 (claim: string, token: string, ttlMs: number, awaited: string): Promise<[state: 'won' | 'running' | 'done', leftMs: number, holder: string]>
  clusterBroadcastDoneV1 (claim: string, token: string, name: string, channel: string): Promise<number>
}

const SCRIPTS: ReadonlyArray<[name: string, numberOfKeys: number, lua: string]> = [
  ['clusterBroadcastPublishV1', 3, publishLua],
  ['clusterBroadcastReplayV1', 2, replayLua],
  ['clusterBroadcastTurnV1', 1, turnLua],
  ['clusterBroadcastBeatV1', 4, beatLua],
  ['clusterBroadcastLeaveV1', 3, leaveLua],
  ['clusterBroadcastClaimV1', 1, claimLua],
  ['clusterBroadcastDoneV1', 1, doneLua]
]

/** Defines the commands on a client. */
export function defineScripts (client: RedisClient): void {
  for (const [name, numberOfKeys, lua] of SCRIPTS) client.defineCommand(name, { numberOfKeys, lua })
}
