import { CLOCK_LUA, defineScript, reply } from '@jpulse/redis-link'

/** How long the token of the last term is kept; a later one begins with Redis' time, which is past it. */
const KEEP_MS = 86_400_000

/**
 * Stands for election, or renews the own term. Returns { 1 where the caller leads, token of the term, ms left of it }.
 *
 * The key holds holder, token, end and length of the term. Closes: read and written apart, two would see a term that has ended
 * and both take the next. A term that ended is another one, with a greater token, also for who held it: meanwhile a third may
 * have led. The token is at least Redis' time in microseconds, so that it grows also where Redis lost what it held. A term that ends later than
 * one taken now would is of before the clock went back: it is cut, or a dead leader would lead until the clock has caught up.
 */
export const stand = defineScript({
  name: 'clusterBroadcastStandV2',
  keys: ['leader'],
  args: ['holder', 'leaseMs'],
  reply: reply<[leads: number, token: string, leftMs: number]>(),
  lua: `${CLOCK_LUA}
local time, lease = micros(), tonumber(ARGV[2])
local now = math.floor(time / 1000)
local function keep(holder, token, ends, term)
  redis.call('SET', KEYS[1], holder .. ' ' .. int(token) .. ' ' .. int(ends) .. ' ' .. int(term), 'PX', int(term + ${KEEP_MS}))
end
local holder, token, ends, term = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+) ?(%d*)$')
token, ends, term = tonumber(token or 0), tonumber(ends or 0), tonumber(term) or lease
if ends > now + term then
  ends = now + term
  keep(holder, token, ends, term)
end
if ends > now and holder ~= ARGV[1] then return { 0, int(token), ends - now } end
if ends <= now then token = math.max(token + 1, time) end
keep(ARGV[1], token, now + lease, lease)
return { 1, int(token), lease }
`
})

/** Ends the own term, and keeps its token. Returns 1, or 0 where it was another's. */
export const resign = defineScript({
  name: 'clusterBroadcastResignV1',
  keys: ['leader'],
  args: ['holder'],
  reply: reply<number>(),
  lua: `
local holder, token = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) %d+')
if holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], '- ' .. token .. ' 0', 'PX', ${KEEP_MS})
return 1
`
})
