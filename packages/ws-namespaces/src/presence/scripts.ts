import { defineScript, LEASE_LUA, reply } from '@jpulse/redis-link'

/**
 * Renews an instance's lease in a namespace, notes who came and went there, and removes instances that are dead.
 *
 * `dead` are the tokens of instances that are known to have ended, with spaces between; `some` 1 where the instance has users;
 * the changes are user and 1 or 0 in turn. Returns { generation, 1 where the lease was known before }.
 *
 * Closes: two workers that see a user's first or last socket at once announce it once; an instance that was taken for dead
 * learns it and comes again; a pause in which nobody could renew (Redis was away) counts as one renewal at most, a third of a
 * lease, else the first who is back would take the slower ones for dead. `renews` says whether the instance itself renewed up to now, or tried
 * to: one that had nothing to renew would take any pause for such a one. The users of all are looked through once for all who died,
 * since Redis serves nobody meanwhile.
 */
export const publishPresence = defineScript({
  name: 'wsNamespacesPresenceV3',
  keys: ['online', 'leases', 'beats'],
  args: ['candidate', 'token', 'leaseMs', 'channel', 'dead', 'some', 'renews', '...changes'],
  reply: reply<[generation: string, known: number]>(),
  lua: `${LEASE_LUA}
local now = clock()
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
leaseForgive(KEYS[2], KEYS[3], now, lease, lease / 3, ARGV[7] == '1')
local known = redis.call('ZSCORE', KEYS[2], token)
for i = 8, #ARGV, 2 do
  local user = ARGV[i]
  local tokens = redis.call('HGET', KEYS[1], user) or ''
  local others = without(tokens, { [token] = true })
  if ARGV[i + 1] == '1' then
    if tokens == '' then joined[#joined + 1] = user end
    redis.call('HSET', KEYS[1], user, others == '' and token or others .. ' ' .. token)
  elseif tokens ~= '' then keep(user, others) end
end
if ARGV[6] == '1' then leaseTake(KEYS[2], token, now, lease) else redis.call('ZREM', KEYS[2], token) end
local dead = {}
local some = false
for _, one in ipairs(leaseLapsed(KEYS[2], now)) do dead[one] = true some = true end
for one in string.gmatch(ARGV[5], '%S+') do
  if redis.call('ZSCORE', KEYS[2], one) then dead[one] = true some = true end
end
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
})

/**
 * Who is online: one user, or all where none is given. Returns user and tokens in turn, tokens of the dead among them, and the
 * tokens that live.
 */
export const readOnline = defineScript({
  name: 'wsNamespacesOnlineV1',
  keys: ['online', 'leases'],
  args: ['...user'],
  reply: reply<[users: string[], living: string[]]>(),
  lua: `${LEASE_LUA}
local now = clock()
local users
if ARGV[1] then users = { ARGV[1], redis.call('HGET', KEYS[1], ARGV[1]) or '' } else users = redis.call('HGETALL', KEYS[1]) end
return { users, leaseLiving(KEYS[2], now) }
`
})
