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

/** The commands that the scripts define, as ioredis offers them. */
export interface Commands {
  wsNamespacesPresenceV1 (...keysAndArgs: Array<string | number>): Promise<[gen: string, known: number]>
  wsNamespacesOnlineV1 (...keysAndArgs: string[]): Promise<[users: string[], living: string[]]>
}

/** Defines the commands on a client. */
export function defineScripts (client: RedisClient): void {
  client.defineCommand('wsNamespacesPresenceV1', { numberOfKeys: 3, lua: presenceLua })
  client.defineCommand('wsNamespacesOnlineV1', { numberOfKeys: 2, lua: onlineLua })
}
