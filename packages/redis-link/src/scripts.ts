import type { RedisClient } from './client.ts'

/**
 * Adds to a counter that may have to expire.
 *
 * KEYS[1] counter; ARGV[1] step; ARGV[2] time to live in ms, '0' for none. Returns the sum.
 *
 * Closes: INCRBY and PEXPIRE as two commands leave an immortal counter when the process dies between them. A counter
 * that was made without a TTL gets one here; one that has a TTL keeps it, so that the window of a counter ends.
 */
const incrementLua = `
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
`

/**
 * Gives a lock back.
 *
 * KEYS[1] lock; ARGV[1] token of its holder. Returns 1 where it was ours, else 0.
 *
 * Closes: a holder whose lock expired must not delete the lock of its successor.
 */
const releaseLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/**
 * Prolongs a lock. KEYS[1] lock; ARGV[1] token of its holder; ARGV[2] time to live in ms. Returns 1, or 0 where lost.
 */
const extendLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`

/**
 * Counts an event where the sliding window has room: any window of ARGV[2] ms holds at most ARGV[1] allowed events.
 *
 * KEYS[1] sorted set of the allowed events by time; ARGV[1] maximum; ARGV[2] window in ms; ARGV[3] unique member.
 * Returns { allowed 0 or 1, remaining, ms until the next is allowed }. Time is Redis', so the clocks of the callers
 * do not matter. Closes: counting and adding in two commands lets parallel callers all see the last free place.
 */
const rateLimitLua = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
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

/** The commands that the scripts define, as ioredis offers them. */
export interface LinkCommands {
  redisLinkIncrementV1 (key: string, by: number, ttlMs: number): Promise<number>
  redisLinkReleaseV1 (key: string, token: string): Promise<number>
  redisLinkExtendV1 (key: string, token: string, ttlMs: number): Promise<number>
  redisLinkRateLimitV1 (key: string, max: number, windowMs: number, member: string): Promise<[allowed: number, remaining: number, retryAfterMs: number]>
}

/** Defines the commands on a client and returns it with their types. */
export function withScripts<C extends RedisClient> (client: C): C & LinkCommands {
  client.defineCommand('redisLinkIncrementV1', { numberOfKeys: 1, lua: incrementLua })
  client.defineCommand('redisLinkReleaseV1', { numberOfKeys: 1, lua: releaseLua })
  client.defineCommand('redisLinkExtendV1', { numberOfKeys: 1, lua: extendLua })
  client.defineCommand('redisLinkRateLimitV1', { numberOfKeys: 1, lua: rateLimitLua })
  return client as C & LinkCommands
}
