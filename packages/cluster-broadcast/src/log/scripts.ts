import { CLOCK_LUA, defineScript, LEASE_LUA, reply } from '@jpulse/redis-link'
import { HEAD_BYTES } from './format.ts'

/**
 * For the start of what touches a log: `openLog(state, log, first, separator, known, knownSeq, stateMs)` returns the epoch and
 * the number of the last message. Needs CLOCK_LUA and `now`.
 *
 * The log is made where there is none, with the epoch `first`. It takes a turn where it ends before a place that the caller
 * knows of: it went back (a failover lost its end). `base` is where what the turn brought begins. An epoch that cannot be read
 * is of a release that writes another: it is left as it is. The state holds more than the log: `mv` counts joins and leaves.
 */
export const LOG_LUA = `
local function partsOf(epoch)
  local root, turn = string.match(epoch, '^([^.-]+)[.-]?(%d*)$')
  return root, tonumber(turn) or 0
end
local function turnOf(epoch, separator, least)
  local root, turn = partsOf(epoch)
  return (root or epoch) .. separator .. int(math.max(turn, least) + 1)
end
local function openLog(state, log, first, separator, known, knownSeq, stateMs)
  local epoch, seq = unpack(redis.call('HMGET', state, 'epoch', 'seq'))
  if not epoch then
    redis.call('DEL', log)
    redis.call('HSET', state, 'epoch', first, 'seq', 0, 'base', 0, 'mv', 0, 'markSeq', 0, 'markAt', int(now))
    redis.call('PEXPIRE', state, stateMs)
    return first, 0
  end
  seq = tonumber(seq) or 0
  local root, turn = partsOf(epoch)
  local knownRoot, knownTurn = partsOf(known)
  if root and root == knownRoot and (turn < knownTurn or (turn == knownTurn and seq < tonumber(knownSeq))) then
    epoch = turnOf(epoch, separator, knownTurn)
    redis.call('HSET', state, 'epoch', epoch, 'base', int(seq))
  end
  return epoch, seq
end
`

/** How long a batch is recognised when it is sent again, in milliseconds. */
const PUBLISHER_MS = 300_000

/**
 * Appends a batch, in order, and hands each frame to those who listen.
 *
 * `known`, `knownSeq`: the furthest place that the caller knows of. `batch`: number of the batch by its publisher, 0 for none.
 * `logMs`, `stateMs`: how long the log and its state live after this, `logMs` 0 where somebody else renews them, and a new log
 * lives as long as a state. `markEvery`: messages
 * between two marks, 0 for none; `markRest` follows on a mark's numbers. Then for each run its channel, its topic ('' where
 * none is stored), how many messages it has (0: it is not logged, and handed on as it is), and what follows on its numbers.
 * With `leases` the answer says who lives. Returns { epoch, number of the last message, number of the batch's last logged
 * message or 0, who lives }.
 *
 * Closes: numbering, storing and publishing apart, who reads the log in between gets a message twice or never, and two
 * publishers' messages reach the processes in another order than the log's. A batch that is sent again after a lost answer is
 * not appended twice. A server that refuses a channel to its user (NOPERM) ends the batch there, with the numbers written: with an entry
 * beyond them nobody could append any more. A log whose state was lost, or that went back, is another log, so nobody mistakes new numbers for old
 * ones. With the living read apart, one that joins meanwhile is asked but not waited for, or waited for but not asked. A mark
 * tells how far the log is, in order with what is heard, to those for whom nothing was meant.
 */
export const append = defineScript({
  name: 'clusterBroadcastLogAppendV1',
  keys: ['state', 'log', 'publisher', '...leases'],
  args: ['first', 'separator', 'known', 'knownSeq', 'batch', 'maxLength', 'logMs', 'stateMs', 'markEvery', 'markChannel', 'markRest', '...runs'],
  reply: reply<[epoch: string, seq: string, last: string, living: string[]]>(),
  lua: `${LEASE_LUA}
local now = clock()
${LOG_LUA}
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[8])
local before, last, batch, maxLength, logMs, every = seq, 0, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
local refused
local isNew = #ARGV > 11 and tonumber(redis.call('GET', KEYS[3]) or 0) < batch
for i = 12, isNew and #ARGV or 0, 4 do
  local channel, topic, count, frame = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  if count > 0 then
    frame = epoch .. ' ' .. int(seq + 1) .. ' ' .. int(seq + count) .. frame
    seq = seq + count
    local keepFrom, id = int(math.max(seq - maxLength + 1, 0)) .. '-0', int(seq) .. '-0'
    if topic == '' then redis.call('XADD', KEYS[2], 'MINID', '=', keepFrom, id, 'f', frame)
    else redis.call('XADD', KEYS[2], 'MINID', '=', keepFrom, id, 't', topic, 'f', frame, 'm', int(now)) end
  end
  local told = redis.pcall('PUBLISH', channel, frame)
  if type(told) == 'table' and told.err then
    refused = told
    break
  end
end
if seq > before then
  last = seq
  redis.call('HSET', KEYS[1], 'seq', int(seq))
  redis.call('SET', KEYS[3], ARGV[5], 'PX', ${PUBLISHER_MS})
  if logMs > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[7])
  elseif redis.call('PTTL', KEYS[2]) < 0 then redis.call('PEXPIRE', KEYS[2], ARGV[8]) end
end
if logMs > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[8]) end
if refused then return refused end
if every > 0 then
  local markSeq, markAt = unpack(redis.call('HMGET', KEYS[1], 'markSeq', 'markAt'))
  if seq > tonumber(markSeq or 0) and (math.floor(seq / every) > math.floor(before / every) or now - tonumber(markAt or 0) > logMs / 4) then
    redis.call('HSET', KEYS[1], 'markSeq', int(seq), 'markAt', int(now))
    redis.pcall('PUBLISH', ARGV[10], epoch .. ' ' .. int(seq + 1) .. ' ' .. int(seq) .. ARGV[11])
  end
end
return { epoch, int(seq), int(last), KEYS[4] and leaseLiving(KEYS[4], now) or {} }
`
})

/**
 * Reads the log after a number: at most `frames` entries of `bytes` together. Where the first alone is larger its frame is cut to
 * `bytes`, and a field `size` says how long it is.
 *
 * Returns { epoch, number of the last message, number where the epoch began, now, begin of the frame that ends with the number
 * or '', [[id, [field, value, …]], …] }. By that begin the reader recognises whether it is still the log that it knew.
 *
 * Closes: read apart, an entry that is added in between looks like a lost one.
 */
export const read = defineScript({
  name: 'clusterBroadcastLogReadV1',
  keys: ['state', 'log'],
  args: ['first', 'separator', 'known', 'knownSeq', 'after', 'frames', 'bytes', 'stateMs'],
  reply: reply<[epoch: Buffer, seq: Buffer, base: Buffer, now: Buffer, head: Buffer, entries: Array<[id: Buffer, fields: Buffer[]]>]>('buffers'),
  lua: `${CLOCK_LUA}
local now = clock()
${LOG_LUA}
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[8])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[8]) end
local after, frames, bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local entries, head = {}, ''
local here = redis.call('XRANGE', KEYS[2], int(after) .. '-0', int(after) .. '-0')[1]
if here then
  for i = 1, #here[2], 2 do if here[2][i] == 'f' then head = string.sub(here[2][i + 1], 1, ${HEAD_BYTES}) end end
end
local function cut(fields)
  local short = {}
  for i = 1, #fields, 2 do
    local isFrame = fields[i] == 'f'
    short[#short + 1] = fields[i]
    short[#short + 1] = isFrame and string.sub(fields[i + 1], 1, bytes) or fields[i + 1]
    if isFrame then
      short[#short + 1] = 'size'
      short[#short + 1] = int(#fields[i + 1])
    end
  end
  return short
end
local function take(from)
  local some = redis.call('XRANGE', KEYS[2], int(from) .. '-0', '+', 'COUNT', math.min(frames - #entries, 10))
  local last
  for _, entry in ipairs(some) do
    local size = 0
    for _, value in ipairs(entry[2]) do size = size + #value end
    if size > bytes then
      if #entries == 0 then entries[1] = { entry[1], cut(entry[2]) } end
      return nil
    end
    bytes = bytes - size
    entries[#entries + 1] = entry
    last = tonumber(string.match(entry[1], '^%d+'))
  end
  return last
end
local last = after
while last and #entries < frames do last = take(last + 1) end
return { epoch, int(seq), redis.call('HGET', KEYS[1], 'base') or '0', int(now), head, entries }
`
})

/** Reads on in a frame that was cut: `bytes` of it from a byte on, 0 the first. Returns them, or '' where the entry is gone. */
export const piece = defineScript({
  name: 'clusterBroadcastLogPieceV1',
  keys: ['log'],
  args: ['seq', 'from', 'bytes'],
  reply: reply<Buffer>('buffers'),
  lua: `
local entry = redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', ARGV[1] .. '-0')[1]
for i = 1, entry and #entry[2] or 0, 2 do
  if entry[2][i] == 'f' then return string.sub(entry[2][i + 1], ARGV[2] + 1, ARGV[2] + ARGV[3]) end
end
return ''
`
})

/**
 * Says to everybody that the log went back, by who reads there what it does not know: its epoch gets a successor. `base`: number
 * after which everybody reads on. Returns 1, or 0 where somebody was faster.
 */
export const turn = defineScript({
  name: 'clusterBroadcastLogTurnV1',
  keys: ['state'],
  args: ['epoch', 'separator', 'base'],
  reply: reply<number>(),
  lua: `${CLOCK_LUA}${LOG_LUA}
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', turnOf(ARGV[1], ARGV[2], 0), 'base', ARGV[3])
return 1
`
})
