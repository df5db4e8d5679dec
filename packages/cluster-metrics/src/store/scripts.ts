import type { RedisClient } from '@jpulse/redis-link'

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Says that a process reported now, or that it left.
 *
 * KEYS[1] index; ARGV boot id, milliseconds that the time of the report lies in the past (0: now), milliseconds that
 * the index is kept. Returns the time in milliseconds. The time is Redis', so that processes with other clocks judge the
 * age of a report alike.
 */
const reportLua = `${now}
redis.call('ZADD', KEYS[1], now - ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return now
`

/**
 * Lists the processes. KEYS[1] index; ARGV[1] milliseconds in which they must have reported.
 * Returns { time in milliseconds, [boot id, time of the report, …] }. Closes: with the time asked apart, a report of
 * that moment seems to come from the future.
 */
const listLua = `${now}
return { now, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now - ARGV[1]), '+inf', 'WITHSCORES') }
`

/**
 * Drops processes that have been silent for long. KEYS[1] index; ARGV milliseconds, boot ids. Returns how many.
 * Closes: one that reports between the list and this stays.
 */
const dropLua = `${now}
local dropped = 0
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and now - at >= tonumber(ARGV[1]) then dropped = dropped + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return dropped
`

/**
 * Replaces the sum of those that ended where it is still the one that was read.
 *
 * KEYS[1] sum; ARGV version that was read ('' for none), new text, milliseconds that it is kept. Returns 1, or 0 where
 * somebody else replaced it. Closes: two that add the same process add it once.
 */
const replaceLua = `
local version = string.match(redis.call('GETRANGE', KEYS[1], 0, 20), '^(%d+) ') or ''
if version ~= ARGV[1] or (version == '' and redis.call('EXISTS', KEYS[1]) == 1) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`

/**
 * Adds a point to the history of one process and drops what is too old.
 *
 * KEYS[1] history; ARGV point, milliseconds that points are kept. Returns 1. The point's name begins with the time, so
 * two equal points are two members.
 */
const pointLua = `${now}
redis.call('ZADD', KEYS[1], now, string.format('%.0f', now) .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

/** The commands that the scripts define, as ioredis offers them. */
export interface MetricsCommands {
  clusterMetricsReportV2 (index: string, bootId: string, agoMs: number, keepMs: number): Promise<number>
  clusterMetricsListV1 (index: string, withinMs: number): Promise<[now: number, members: string[]]>
  clusterMetricsDropV1 (index: string, olderMs: number, ...bootIds: string[]): Promise<number>
  clusterMetricsReplaceV1 (ended: string, version: string, text: string, keepMs: number): Promise<number>
  clusterMetricsPointV1 (history: string, point: string, keepMs: number): Promise<number>
}

/** Defines the commands on a client. */
export function withScripts (client: RedisClient): void {
  client.defineCommand('clusterMetricsReportV2', { numberOfKeys: 1, lua: reportLua })
  client.defineCommand('clusterMetricsListV1', { numberOfKeys: 1, lua: listLua })
  client.defineCommand('clusterMetricsDropV1', { numberOfKeys: 1, lua: dropLua })
  client.defineCommand('clusterMetricsReplaceV1', { numberOfKeys: 1, lua: replaceLua })
  client.defineCommand('clusterMetricsPointV1', { numberOfKeys: 1, lua: pointLua })
}
