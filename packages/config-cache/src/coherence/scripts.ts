import { defineScript, reply } from '@jpulse/redis-link'
import { begin } from './preamble.ts'

/**
 * Joins, or renews a membership.
 *
 * KEYS[5] hello key; ARGV[2] member id; ARGV[3] token of the previous reply, '' for none; ARGV[4] token of this reply;
 * ARGV[5] where the member lives, and its lease in ms; ARGV[6] lease in ms; ARGV[7] life of its blocks in ms. Returns { nonce, seq,
 * open, space, counted, [opId, "beat tags", …], longest lease, longest life of a block, 1 where INFO is forbidden }.
 *
 * Closes: a member whose replies are lost would stay unfenced, and each write would wait a lease for it. So nothing
 * counts, neither a renewal nor a joining, without the token that only the previous reply could bring.
 */
const renewLua = `${begin}
local function longest (field, ms)
  local known = tonumber(redis.call('HGET', KEYS[1], field) or 0)
  if tonumber(ms) <= known then return known end
  redis.call('HSET', KEYS[1], field, ms)
  return tonumber(ms)
end
local counted = 0
local entry = redis.call('HGET', KEYS[2], ARGV[2])
if entry then
  local renewed, token = string.match(entry, '^(%d+) (%S+)')
  if token == ARGV[3] then renewed = seq; counted = 1 end
  redis.call('HSET', KEYS[2], ARGV[2], string.format('%s %s %s', renewed, ARGV[4], ARGV[5]))
elseif ARGV[3] ~= '' and redis.call('GET', KEYS[5]) == nonce .. ARGV[3] then
  counted = 1
  redis.call('DEL', KEYS[5])
  redis.call('HSET', KEYS[2], ARGV[2], string.format('%d %s %s', seq, ARGV[4], ARGV[5]))
else
  redis.call('SET', KEYS[5], nonce .. ARGV[4], 'PX', 60000)
end
return { nonce, seq, open, space, counted, without_mark(redis.call('HGETALL', KEYS[3])), longest('lease', ARGV[6]), longest('life', ARGV[7]), id and 0 or 1 }
`

/**
 * Blocks tags.
 *
 * KEYS[5…] generations of the tags; ARGV[2] opId; ARGV[3] channel; ARGV[4] message; ARGV[5] JSON of [writer, tags];
 * ARGV[6] life of a generation in ms; ARGV[7…] tags. Returns { nonce, seq, open, space, [memberId, "renewed token host lease", …], longest lease,
 * 1 where INFO is forbidden }.
 *
 * Closes: who fills or reads the shared level between block and release sees the mark '!' in place of a generation. A
 * command that a client sent twice counts its tags once, or they would stay blocked for ever. A block that nobody could be told of
 * leaves nothing behind, not even its number, or each attempt would empty every member.
 */
const blockLua = `${begin}
local added = redis.call('HSET', KEYS[3], ARGV[2], '0 ' .. ARGV[5])
local refused = advance()
if not refused then
  refused = publish(ARGV[3], ARGV[4])
  if refused then redis.call('HINCRBY', KEYS[1], 'seq', -1) end
end
if refused then
  if added == 1 then redis.call('HDEL', KEYS[3], ARGV[2]) end
  return refused
end
for i = 7, #ARGV do
  redis.call('HINCRBY', KEYS[4], ARGV[i], added)
  redis.call('SET', KEYS[i - 2], '!' .. nonce .. '.' .. seq, 'PX', ARGV[6])
end
return { nonce, seq, open, space, without_mark(redis.call('HGETALL', KEYS[2])), tonumber(redis.call('HGET', KEYS[1], 'lease') or 0), id and 0 or 1 }
`

/**
 * Releases a block, or removes one whose heartbeat stopped.
 *
 * KEYS[5…] generations; ARGV[2] nonce of the block; ARGV[3] opId; ARGV[4] beat that it must have, '' for any;
 * ARGV[5] channel; ARGV[6] message; ARGV[7] life of a generation in ms; ARGV[8] seq of the block; ARGV[9] name of the
 * generation under which the writer stored new values, '' where it did not; ARGV[10…] tags. Returns 1 where the block
 * was held until now, else 0.
 *
 * Closes: a load that began under the block may have read the old value: the generations change once more. A block that
 * expired or went with its epoch must not count as held. Removed without a number that members miss, it would stay theirs; HDEL comes first because
 * a full server takes it, and what follows it. Of writers whose blocks overlapped nobody knows whose value
 * the database kept: the name becomes a generation only where the tag's mark is still the one that this block set.
 */
const releaseLua = `${begin}
local held = nonce == ARGV[2] and redis.call('HGET', KEYS[3], ARGV[3])
if not held or (ARGV[4] ~= '' and string.match(held, '^%d+') ~= ARGV[4]) then return 0 end
redis.call('HDEL', KEYS[3], ARGV[3])
local refused = advance()
if refused then
  redis.call('HSET', KEYS[3], ARGV[3], held)
  return refused
end
for i = 10, #ARGV do
  local key, mark, name = KEYS[i - 5], '!', seq
  if redis.call('HINCRBY', KEYS[4], ARGV[i], -1) <= 0 then
    redis.call('HDEL', KEYS[4], ARGV[i])
    mark = ''
    if ARGV[9] ~= '' and redis.call('GET', key) == '!' .. nonce .. '.' .. ARGV[8] then name = ARGV[9] end
  end
  redis.call('SET', key, mark .. nonce .. '.' .. name, 'PX', ARGV[7])
end
publish(ARGV[5], ARGV[6])
return 1
`

/**
 * Heartbeat of a writer: a block whose beat changes is not removed.
 *
 * ARGV[2] nonce; ARGV[3] opId. Returns 1 where the block is held, else 0.
 */
const beatLua = `${begin}
local held = nonce == ARGV[2] and redis.call('HGET', KEYS[3], ARGV[3])
if not held then return 0 end
local beat, rest = string.match(held, '^(%d+) (.*)$')
redis.call('HSET', KEYS[3], ARGV[3], (beat + 1) .. ' ' .. rest)
return 1
`

/**
 * Removes members that stayed silent for a lease.
 *
 * ARGV[2] nonce; ARGV[3] seq of the block; ARGV[4…] member ids. Returns 1, or 0 where the epoch is another.
 *
 * Closes: a member that renewed after the block got the block with its reply, and holds a lease: it must stay on the
 * list, or the next write would not wait for it.
 */
const fenceLua = `${begin}
if nonce ~= ARGV[2] then return 0 end
for i = 4, #ARGV do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  if entry and tonumber(string.match(entry, '^%d+')) < tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return 1
`

/**
 * Opens an epoch that a client watched for the whole quarantine. ARGV[2] nonce. Returns 1, or 0 where it is another.
 */
const openLua = `${begin}
if nonce ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'open', '1')
return 1
`

/**
 * Reads the generations of tags, and makes those that are missing.
 *
 * KEYS[5…] generations; ARGV[2] nonce; ARGV[3] life in ms; ARGV[4…] tags. Returns the generations, or {} in another epoch.
 *
 * Closes: a generation that was evicted under a block must come back as a mark, never as one that can be filled.
 */
const generationsLua = `${begin}
if nonce ~= ARGV[2] then return {} end
local found = {}
for i = 4, #ARGV do
  local key = KEYS[i + 1]
  local value = redis.call('GET', key)
  if not value or string.find(value, nonce .. '.', 1, true) == nil then
    value = (redis.call('HEXISTS', KEYS[4], ARGV[i]) == 1 and '!' or '') .. nonce .. '.' .. seq
    redis.call('SET', key, value, 'PX', ARGV[3])
  end
  found[#found + 1] = value
end
return found
`

/** Takes a member off the list that holds no lease any more. ARGV[2] member id. */
const leaveLua = `${begin}
return redis.call('HDEL', KEYS[2], ARGV[2])
`

/**
 * Empties the shared level: cached values are looked for under another name from now on.
 * ARGV[2] channel; ARGV[3] message; ARGV[4] new name. Coherence does not depend on it.
 */
const clearLua = `${begin}
local refused = advance()
if refused then return refused end
redis.call('HSET', KEYS[1], 'space', ARGV[4])
publish(ARGV[2], ARGV[3])
return 1
`

/** Ends the epoch: whatever any member or value knew is void, and the new one starts closed. Returns its nonce. */
const resetLua = `
redis.call('DEL', KEYS[1])
${begin}
return nonce
`

const STATE = ['state', 'members', 'ops', 'tags'] as const

type RenewReply = [nonce: string, seq: number, open: string, space: string, counted: number, ops: string[], lease: number, life: number, isInfoForbidden: number]
type BlockReply = [nonce: string, seq: number, open: string, space: string, members: string[], lease: number, isInfoForbidden: number]

export const renewScript = defineScript({
  name: 'configCacheRenewV1',
  keys: [...STATE, 'hello'],
  args: ['epoch', 'member', 'tokenBefore', 'token', 'place', 'leaseMs', 'blockTtlMs'],
  reply: reply<RenewReply>(),
  lua: renewLua
})

export const blockScript = defineScript({
  name: 'configCacheBlockV1',
  keys: [...STATE, '...generations'],
  args: ['epoch', 'op', 'bus', 'message', 'text', 'generationTtlMs', '...tags'],
  reply: reply<BlockReply>(),
  lua: blockLua
})

export const releaseScript = defineScript({
  name: 'configCacheReleaseV1',
  keys: [...STATE, '...generations'],
  args: ['epoch', 'nonce', 'op', 'beat', 'bus', 'message', 'generationTtlMs', 'seq', 'name', '...tags'],
  reply: reply<number>(),
  lua: releaseLua
})

export const generationsScript = defineScript({
  name: 'configCacheGenerationsV1',
  keys: [...STATE, '...generations'],
  args: ['epoch', 'nonce', 'generationTtlMs', '...tags'],
  reply: reply<string[]>(),
  lua: generationsLua
})

export const beatScript = defineScript({
  name: 'configCacheBeatV1',
  keys: STATE,
  args: ['epoch', 'nonce', 'op'],
  reply: reply<number>(),
  lua: beatLua
})

export const fenceScript = defineScript({
  name: 'configCacheFenceV1',
  keys: STATE,
  args: ['epoch', 'nonce', 'seq', '...members'],
  reply: reply<number>(),
  lua: fenceLua
})

export const openScript = defineScript({
  name: 'configCacheOpenV1',
  keys: STATE,
  args: ['epoch', 'nonce'],
  reply: reply<number>(),
  lua: openLua
})

export const leaveScript = defineScript({
  name: 'configCacheLeaveV1',
  keys: STATE,
  args: ['epoch', 'member'],
  reply: reply<number>(),
  lua: leaveLua
})

export const clearScript = defineScript({
  name: 'configCacheClearV1',
  keys: STATE,
  args: ['epoch', 'bus', 'message', 'space'],
  reply: reply<number>(),
  lua: clearLua
})

export const resetScript = defineScript({
  name: 'configCacheResetV1',
  keys: STATE,
  args: ['epoch'],
  reply: reply<string>(),
  lua: resetLua
})
