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

/**
 * Takes a lock that may be the caller's already. Returns 1 where it is now, else 0.
 *
 * Closes: who asks again after a lost answer would be told that somebody holds it, and nobody would.
 */
export const take = defineScript({
  name: 'redisLinkTakeV1',
  keys: ['lock'],
  args: ['token', 'ttlMs'],
  reply: reply<number>(),
  lua: `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`
})

/**
 * Gives a lock back. Returns 1 where it was the holder's, else 0.
 *
 * Closes: a holder whose lock expired must not delete the lock of its successor.
 */
export const release = defineScript({
  name: 'redisLinkReleaseV1',
  keys: ['lock'],
  args: ['token'],
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
 * Counts an event where the sliding window has room: any window of `windowMs` holds at most `max` allowed events.
 *
 * `events` is a sorted set of the allowed events by time, `event` a unique member. Closes: counting and adding in two
 * commands lets parallel callers all see the last free place.
 */
export const rateLimit = defineScript({
  name: 'redisLinkRateLimitV1',
  keys: ['events'],
  args: ['max', 'windowMs', 'event'],
  reply: reply<[allowed: number, remaining: number, retryAfterMs: number]>(),
  lua: `${CLOCK_LUA}
local now = clock()
local max, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local count = redis.call('ZCARD', KEYS[1])
if count >= max then
  local oldest = redis.call('ZRANGE', KEYS[1], count - max, count - max, 'WITHSCORES')
  return { 0, 0, oldest[2] + window - now }
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], window)
return { 1, max - count - 1, 0 }
`
})
