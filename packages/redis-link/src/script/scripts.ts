import { CLOCK_LUA } from './lua.ts'
import { defineScript, reply } from './script.ts'

/**
 * Adds to a counter that may have to expire (`ttlMs` '0' for none). Returns the sum.
 *
 * Closes: INCRBY and PEXPIRE as two commands leave an immortal counter when the process dies between them. A counter
 * that was made without a TTL gets one here; one that has a TTL keeps it, so that the window of a counter ends.
 */
export const increment = defineScript({
  name: 'redisLinkIncrementV1',
  keys: ['counter'],
  args: ['step', 'ttlMs'],
  reply: reply<number>(),
  lua: `
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
`
})

/** How long the token of a lock is remembered after its end; a later one begins with Redis' time, which is past it. */
const FENCE_MS = 86_400_000

/**
 * Takes a lock that may be the caller's already. Returns { 1 where it is now, else 0; its token }.
 *
 * Closes: who asks again after a lost answer would be told that somebody holds it, and nobody would. A token that was made
 * apart from the lock could be smaller than that of who held it before. It is at least Redis' time in microseconds, so that it grows also
 * where Redis lost what it held, and without a `fence` it is that time. The release before takes the same lock
 * without a token.
 */
export const take = defineScript({
  name: 'redisLinkTakeV2',
  keys: ['lock', '...fence'],
  args: ['holder', 'ttlMs'],
  reply: reply<[taken: number, token: string]>(),
  lua: `${CLOCK_LUA}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return { 0, '0' } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not KEYS[2] then return { 1, int(micros()) } end
local token = tonumber(redis.call('GET', KEYS[2]) or 0)
if not holder or token == 0 then
  token = math.max(token + 1, micros())
  redis.call('SET', KEYS[2], int(token), 'PX', int(ARGV[2] + ${FENCE_MS}))
end
return { 1, int(token) }
`
})

/**
 * Removes a key that holds the text of its holder: gives a lock or a claim back. Returns 1 where it was the holder's, else 0.
 *
 * Closes: a holder whose key expired must not remove that of its successor.
 */
export const release = defineScript({
  name: 'redisLinkReleaseV1',
  keys: ['held'],
  args: ['holder'],
  reply: reply<number>(),
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`
})

/** Prolongs a lock. Returns 1, or 0 where it is lost. */
export const extend = defineScript({
  name: 'redisLinkExtendV1',
  keys: ['lock'],
  args: ['token', 'ttlMs'],
  reply: reply<number>(),
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`
})

/**
 * Publishes messages in order, each after its channel. `near` is looked at by nobody: it names the server. Returns 0; the first refusal
 * of a channel, when all that are not refused are published.
 */
export const publish = defineScript({
  name: 'redisLinkPublishV1',
  keys: ['near'],
  args: ['...messages'],
  reply: reply<number>(),
  lua: `
local refused
for i = 1, #ARGV, 2 do
  local told = redis.pcall('PUBLISH', ARGV[i], ARGV[i + 1])
  if type(told) == 'table' and told.err then refused = refused or told end
end
return refused or 0
`
})

/**
 * Counts events where the sliding window has room for all of them: any window of `windowMs` holds at most `max`. Returns
 * { 1 where they are allowed, places left, ms until they would be }.
 *
 * `events` is a sorted set of the allowed events by time; `event` a unique name, of which `cost` members are made, none for 0.
 * Who is refused with `blockMs` is refused for so long, by a last member `block:<ms>` with the time when that ends. Closes:
 * counting and adding in two commands lets parallel callers all see the last free place. A clock that went back leaves events
 * in the future, which count as of now: else they would count until it has caught up.
 */
export const rateLimit = defineScript({
  name: 'redisLinkRateLimitV2',
  keys: ['events'],
  args: ['max', 'windowMs', 'event', 'cost', 'blockMs'],
  reply: reply<[allowed: number, remaining: number, retryAfterMs: number]>(),
  lua: `${CLOCK_LUA}
local now = clock()
local max, window, cost, block = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local blockedFor = tonumber(string.match(last[1] or '', '^block:(%d+)$'))
if blockedFor then
  local left = math.min(last[2] - now, blockedFor)
  if left > 0 then
    if left < last[2] - now then redis.call('ZADD', KEYS[1], int(now + left), last[1]) end
    return { 0, 0, left }
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], last[2], last[2])
end
if last[2] and tonumber(last[2]) > now then
  for _, event in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. int(now), '+inf', 'BYSCORE')) do redis.call('ZADD', KEYS[1], int(now), event) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - window))
local count = redis.call('ZCARD', KEYS[1])
if count + math.max(cost, 1) > max then
  if cost > 0 and block > 0 then
    redis.call('ZADD', KEYS[1], int(now + block), 'block:' .. int(block))
    redis.call('PEXPIRE', KEYS[1], int(math.max(block, window)))
    return { 0, 0, block }
  end
  local at = count + math.max(cost, 1) - max - 1
  local oldest = redis.call('ZRANGE', KEYS[1], at, at, 'WITHSCORES')
  return { 0, math.max(max - count, 0), math.max(oldest[2] + window - now, 1) }
end
for i = 1, cost do redis.call('ZADD', KEYS[1], int(now), i == 1 and ARGV[3] or ARGV[3] .. ':' .. int(i)) end
if cost > 0 then redis.call('PEXPIRE', KEYS[1], int(window)) end
return { 1, max - count - cost, 0 }
`
})

/**
 * Asks what the user may not. For each command its number of words, and the words. Returns { 1, numbers of the commands that are
 * refused }, or { 0 } where the server cannot be asked so (before Redis 7). One that it does not have is not refused.
 */
export const may = defineScript({
  name: 'redisLinkMayV1',
  keys: [],
  args: ['...commands'],
  reply: reply<number[]>(),
  lua: `
if not redis.acl_check_cmd then return { 0 } end
local answer, at, number = { 1 }, 1, 0
while at <= #ARGV do
  local words = {}
  for i = 1, tonumber(ARGV[at]) do words[i] = ARGV[at + i] end
  at, number = at + #words + 1, number + 1
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if known and not allowed then answer[#answer + 1] = number end
end
return answer
`
})
