import { defineScript, LEASE_LUA, reply } from '@jpulse/redis-link'
import { LOG_LUA } from '../log/epoch-log.ts'

/** Without any process that renews its lease, all is gone after an hour. */
export const KEEP_MS = 3_600_000

/** Of how many a renewal looks whether they let their leases lapse. */
const SEEN_LEASES = 16
/** How many leases an answer tells: those that were renewed longest ago. In a small cluster that is everybody's. More are most of what an idle process makes Redis send. */
const TOLD_LEASES = 8

/**
 * Joins the cluster or renews the lease, and removes who let it lapse. What it costs does not grow with the cluster.
 *
 * `first`: epoch of a log that has to be made. `record`: the member as JSON. `known`: '<epoch> <mv>' of the members that the
 * caller knows. `waits`: '1' where the caller waits for the changes that he does not know, which were announced to him. Returns
 * { epoch, number of the last message, mv, now, [boot id, end of lease, …], [boot id, JSON, …] }: the leases that end first, and all
 * members, or none where the caller knows them or waits: while many come and go nearly every answer would hold them all.
 *
 * Closes: the position in the log is read with the join, so a member hears exactly what is published after it. An announcement that
 * the user may not publish is like a lost one: ended there, the script would leave who joins half a member. Where more
 * let their leases lapse than are looked at, the next renewals remove the others.
 */
export const beat = defineScript({
  name: 'clusterBroadcastBeatV4',
  keys: ['state', 'log', 'members', 'leases'],
  args: ['first', 'bootId', 'record', 'leaseMs', 'heartbeatMs', 'known', 'channel', 'waits'],
  reply: reply<[epoch: string, seq: string, mv: string, now: string, leases: string[], members: string[]]>(),
  lua: `${LEASE_LUA}
local now = clock()
${LOG_LUA}
local function announce(epoch, sign, what)
  local mv = redis.call('HINCRBY', KEYS[1], 'mv', 1)
  redis.pcall('PUBLISH', ARGV[7], epoch .. ' ' .. int(mv) .. ' ' .. sign .. ' ' .. what)
end
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], '.', '', 0, ${KEEP_MS})
local lease = tonumber(ARGV[4])
local isNew = leaseTake(KEYS[4], ARGV[2], now, lease) == 1
leaseForgive(KEYS[4], KEYS[1], now, lease, tonumber(ARGV[5]), not isNew)
isNew = redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3]) == 1 or isNew
if isNew then announce(epoch, '+', ARGV[3]) end
local leases = redis.call('ZRANGE', KEYS[4], 0, ${SEEN_LEASES - 1}, 'WITHSCORES')
for i = 1, #leases, 2 do
  if tonumber(leases[i + 1]) > now then break end
  redis.call('ZREM', KEYS[4], leases[i])
  redis.call('HDEL', KEYS[3], leases[i])
  announce(epoch, '-', leases[i])
end
local mv, keptAt = unpack(redis.call('HMGET', KEYS[1], 'mv', 'keptAt'))
mv, keptAt = mv or '0', tonumber(keptAt or 0)
if isNew or keptAt > now or keptAt < now - ${KEEP_MS / 4} then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${KEEP_MS}) end
  redis.call('HSET', KEYS[1], 'keptAt', int(now))
end
local members = {}
local knownEpoch, knownMv = string.match(ARGV[6], '^(%S*) (%d+)$')
local isAnnounced = ARGV[8] == '1' and not isNew and epoch == knownEpoch and tonumber(mv) > tonumber(knownMv)
if epoch .. ' ' .. mv ~= ARGV[6] and not isAnnounced then members = redis.call('HGETALL', KEYS[3]) end
return { epoch, int(seq), mv, int(now), { unpack(leases, 1, math.min(#leases, ${2 * TOLD_LEASES})) }, members }
`
})

/** Leaves the cluster. Returns 1, or 0 where it was gone. */
export const leave = defineScript({
  name: 'clusterBroadcastLeaveV1',
  keys: ['state', 'members', 'leases'],
  args: ['bootId', 'channel'],
  reply: reply<number>(),
  lua: `
local gone = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if gone == 1 and epoch then
  local mv = redis.call('HINCRBY', KEYS[1], 'mv', 1)
  redis.pcall('PUBLISH', ARGV[2], epoch .. ' ' .. string.format('%.0f', mv) .. ' - ' .. ARGV[1])
end
return gone
`
})
