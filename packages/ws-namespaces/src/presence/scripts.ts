import { defineScript, LEASE_LUA, reply } from '@jpulse/redis-link'

/**
 * Renews an instance's lease in a namespace, notes who came and went there, and removes instances that are dead.
 *
 * `dead` are the tokens of instances that are known to have ended, with spaces between; `some` 1 where the instance has users;
 * the changes are user and 1 or 0 in turn; `most` is how many users are looked through at most, about. Returns { generation, 1 where
 * the lease was good before, 1 where users of the dead are left }.
 *
 * Closes: two workers that see a user's first or last socket at once announce it once; an instance that was taken for dead
 * learns it and comes again; a pause in which nobody could renew (Redis was away) counts as one renewal at most, a third of a
 * lease, else the first who is back would take the slower ones for dead. `renews` says whether the instance itself renewed up to now, or tried
 * to: one that had nothing to renew would take any pause for such a one. Since Redis serves nobody
 * while a script runs, the users of the dead are looked for in pieces: `beats` keeps `dead`, whom to take out, the `cursor` of the look,
 * how often to look `again`, and who is at it until when: all at once would keep Redis as busy as one script for all. Twice from the
 * first to the last: a server that took over, or that the slot moved to, has them in another order, so that of one look it may skip some.
 * Whoever publishes later goes on where that one does not; an instance that comes again is dead no more.
 * A user who is on no other living instance has joined, also where the list still says so: whoever read it since the lease lapsed does
 * not know of the user, and who does drops it.
 */
export const publishPresence = defineScript({
  name: 'wsNamespacesPresenceV4',
  keys: ['online', 'leases', 'beats'],
  args: ['candidate', 'token', 'leaseMs', 'channel', 'dead', 'some', 'renews', 'most', '...changes'],
  reply: reply<[generation: string, known: number, isLeft: number]>(),
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
local function lives(text)
  for one in string.gmatch(text, '%S+') do
    if tonumber(redis.call('ZSCORE', KEYS[2], one) or 0) > now then return true end
  end
  return false
end
leaseForgive(KEYS[2], KEYS[3], now, lease, lease / 3, ARGV[7] == '1')
local known = lives(token)
for i = 9, #ARGV, 2 do
  local user = ARGV[i]
  local tokens = redis.call('HGET', KEYS[1], user) or ''
  local others = without(tokens, { [token] = true })
  if ARGV[i + 1] == '1' then
    if not lives(others) then joined[#joined + 1] = user end
    redis.call('HSET', KEYS[1], user, others == '' and token or others .. ' ' .. token)
  elseif tokens ~= '' then keep(user, others) end
end
if ARGV[6] == '1' then leaseTake(KEYS[2], token, now, lease) else redis.call('ZREM', KEYS[2], token) end
local look = redis.call('HMGET', KEYS[3], 'dead', 'cursor', 'again', 'looker', 'lookerUntil')
local dead, cursor, again, looker, busy = look[1] or '', look[2], look[3], look[4], tonumber(look[5] or 0)
local found = leaseLapsed(KEYS[2], now)
for one in string.gmatch(ARGV[5], '%S+') do
  if redis.call('ZSCORE', KEYS[2], one) then found[#found + 1] = one end
end
if #found > 0 then
  for _, one in ipairs(found) do redis.call('ZREM', KEYS[2], one) end
  dead = dead .. ' ' .. table.concat(found, ' ')
  again = cursor and 2 or 1
  cursor = cursor or '0'
  redis.call('HSET', KEYS[3], 'dead', dead, 'cursor', cursor, 'again', again)
end
local isLooking = cursor and (not looker or looker == token or busy < now or busy > now + 1000)
if isLooking then
  local gone = {}
  for one in string.gmatch(dead, '%S+') do gone[one] = not redis.call('ZSCORE', KEYS[2], one) end
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', ARGV[8])
  for i = 1, #page[2], 2 do
    local kept = without(page[2][i + 1], gone)
    if kept ~= page[2][i + 1] then keep(page[2][i], kept) end
  end
  cursor = page[1]
  if cursor == '0' then
    again = tonumber(again or 0)
    if again > 0 then redis.call('HSET', KEYS[3], 'again', again - 1) else cursor = false end
  end
  if cursor then redis.call('HSET', KEYS[3], 'cursor', cursor, 'looker', token, 'lookerUntil', int(now + 1000))
  else redis.call('HDEL', KEYS[3], 'dead', 'cursor', 'again', 'looker', 'lookerUntil') end
end
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3])
else for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], int(4 * lease)) end end
if #joined > 0 then redis.call('PUBLISH', ARGV[4], '+' .. cjson.encode(joined)) end
if #left > 0 then redis.call('PUBLISH', ARGV[4], '-' .. cjson.encode(left)) end
return { gen, known and 1 or 0, cursor and isLooking and 1 or 0 }
`
})

/**
 * Who is online: about `most` users from `cursor` on, '0' at first. Returns the next cursor, '0' at the end; user and tokens in turn,
 * tokens of the dead among them, some users twice; and the tokens that live.
 */
export const readOnline = defineScript({
  name: 'wsNamespacesOnlineV2',
  keys: ['online', 'leases'],
  args: ['cursor', 'most'],
  reply: reply<[cursor: string, users: string[], living: string[]]>(),
  lua: `${LEASE_LUA}
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
return { page[1], page[2], leaseLiving(KEYS[2], clock()) }
`
})

/** Where one user is: the tokens, those of the dead among them, and the tokens that live. */
export const readUser = defineScript({
  name: 'wsNamespacesOnlineUserV1',
  keys: ['online', 'leases'],
  args: ['user'],
  reply: reply<[tokens: string, living: string[]]>(),
  lua: `${LEASE_LUA}
return { redis.call('HGET', KEYS[1], ARGV[1]) or '', leaseLiving(KEYS[2], clock()) }
`
})
