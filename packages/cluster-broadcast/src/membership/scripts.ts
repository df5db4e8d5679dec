import { defineScript, LEASE_LUA, reply } from '@jpulse/redis-link'
import { LOG_LUA } from '../log/epoch-log.ts'

/** Without any process that renews its lease, all is gone after an hour. */
export const KEEP_MS = 3_600_000

/**
 * Joins the cluster or renews the lease, and removes who let it lapse.
 *
 * `first`: epoch of a log that has to be made. `card`: the member as JSON. `known`: '<epoch> <mv>' of the members that the
 * caller knows. Returns { epoch, number of the last message, mv, now, [boot id, end of lease, …], [boot id, JSON, …] }, the last
 * one empty where the caller knows it.
 *
 * Closes: the position in the log is read with the join, so a member hears exactly what is published after it.
 */
export const beat = defineScript({
  name: 'clusterBroadcastBeatV2',
  keys: ['state', 'log', 'members', 'leases'],
  args: ['first', 'bootId', 'card', 'leaseMs', 'heartbeatMs', 'known', 'channel'],
  reply: reply<[epoch: string, seq: string, mv: string, now: string, leases: string[], members: string[]]>(),
  lua: `${LEASE_LUA}
local now = clock()
${LOG_LUA}
local function announce(epoch, sign, what)
  local mv = redis.call('HINCRBY', KEYS[1], 'mv', 1)
  redis.call('PUBLISH', ARGV[7], epoch .. ' ' .. int(mv) .. ' ' .. sign .. ' ' .. what)
end
local epoch, seq = openLog(KEYS[1], KEYS[2], ARGV[1], '.', '', 0, ${KEEP_MS})
local lease = tonumber(ARGV[4])
local renews = redis.call('ZSCORE', KEYS[4], ARGV[2])
leaseForgive(KEYS[4], KEYS[1], now, lease, tonumber(ARGV[5]), renews)
leaseTake(KEYS[4], ARGV[2], now, lease)
if redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3]) == 1 or not renews then announce(epoch, '+', ARGV[3]) end
for _, boot in ipairs(leaseLapsed(KEYS[4], now)) do
  redis.call('ZREM', KEYS[4], boot)
  redis.call('HDEL', KEYS[3], boot)
  announce(epoch, '-', boot)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${KEEP_MS}) end
local mv = redis.call('HGET', KEYS[1], 'mv') or '0'
local members = {}
if epoch .. ' ' .. mv ~= ARGV[6] then members = redis.call('HGETALL', KEYS[3]) end
return { epoch, int(seq), mv, int(now), redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES'), members }
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
  redis.call('PUBLISH', ARGV[2], epoch .. ' ' .. string.format('%.0f', mv) .. ' - ' .. ARGV[1])
end
return gone
`
})
