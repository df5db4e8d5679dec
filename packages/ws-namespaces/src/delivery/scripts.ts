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

type Entries = Array<[id: Buffer, fields: Buffer[]]>

/** The commands that the scripts define, as ioredis offers them. */
export interface Commands {
  wsNamespacesCommitV1 (...keysAndArgs: Array<string | number>): Promise<[epoch: string, seq: string]>
  wsNamespacesReadV1Buffer (state: string, log: string, candidate: string, known: string, knownSeq: number, after: number, count: number, stateMs: number):
  Promise<[epoch: Buffer, seq: Buffer, base: Buffer, now: Buffer, entries: Entries]>
  wsNamespacesTurnV1 (state: string, epoch: string, base: number): Promise<number>
}

const SCRIPTS: ReadonlyArray<[name: string, numberOfKeys: number, lua: string]> = [
  ['wsNamespacesCommitV1', 3, commitLua],
  ['wsNamespacesReadV1', 2, readLua],
  ['wsNamespacesTurnV1', 1, turnLua]
]

/** Defines the commands on a client. */
export function defineScripts (client: RedisClient): void {
  for (const [name, numberOfKeys, lua] of SCRIPTS) client.defineCommand(name, { numberOfKeys, lua })
}
