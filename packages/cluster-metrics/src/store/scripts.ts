import { CLOCK_LUA, defineScript, reply } from '@jpulse/redis-link'

/**
 * Says that a process reported now, or that it left.
 *
 * KEYS[1] index; ARGV boot id, milliseconds that the time of the report lies in the past (0: now), milliseconds that
 * the index is kept. Returns the time in milliseconds. The time is Redis', so that processes with other clocks judge the
 * age of a report alike.
 */
export const reportMember = defineScript({
  name: 'clusterMetricsReportV2',
  keys: ['index'],
  args: ['bootId', 'agoMs', 'keepMs'],
  reply: reply<number>(),
  lua: `${CLOCK_LUA}
local now = clock()
redis.call('ZADD', KEYS[1], now - ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return now
`
})

/**
 * Lists the processes. KEYS[1] index; ARGV[1] milliseconds in which they must have reported.
 * Returns { time in milliseconds, [boot id, time of the report, …] }. Closes: with the time asked apart, a report of
 * that moment seems to come from the future.
 */
export const listMembers = defineScript({
  name: 'clusterMetricsListV1',
  keys: ['index'],
  args: ['withinMs'],
  reply: reply<[now: number, members: string[]]>(),
  lua: `${CLOCK_LUA}
local now = clock()
return { now, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now - ARGV[1]), '+inf', 'WITHSCORES') }
`
})

/**
 * Drops processes that have been silent for long. KEYS[1] index; ARGV milliseconds, boot ids. Returns how many.
 * Closes: one that reports between the list and this stays.
 */
export const dropMembers = defineScript({
  name: 'clusterMetricsDropV1',
  keys: ['index'],
  args: ['olderMs', '...bootIds'],
  reply: reply<number>(),
  lua: `${CLOCK_LUA}
local now = clock()
local dropped = 0
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and now - at >= tonumber(ARGV[1]) then dropped = dropped + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return dropped
`
})

/**
 * Replaces a text that begins with its version, such as the sum of those that ended, where it is still the one that was read.
 *
 * KEYS[1] text; ARGV version that was read ('' for none), new text, milliseconds that it is kept. Returns 1, or 0 where
 * somebody else replaced it. Closes: two that add the same process add it once, and two that notice the same fault tell it once.
 */
export const replaceVersioned = defineScript({
  name: 'clusterMetricsReplaceV1',
  keys: ['text'],
  args: ['version', 'text', 'keepMs'],
  reply: reply<number>(),
  lua: `
local version = string.match(redis.call('GETRANGE', KEYS[1], 0, 20), '^(%d+) ') or ''
if version ~= ARGV[1] or (version == '' and redis.call('EXISTS', KEYS[1]) == 1) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`
})

/**
 * Adds a point to the history of one process and drops what is too old.
 *
 * KEYS[1] history; ARGV point, milliseconds that points are kept. Returns 1. The point's name begins with the time, so
 * two equal points are two members.
 */
export const addPoint = defineScript({
  name: 'clusterMetricsPointV1',
  keys: ['history'],
  args: ['point', 'keepMs'],
  reply: reply<number>(),
  lua: `${CLOCK_LUA}
local now = clock()
redis.call('ZADD', KEYS[1], now, int(now) .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`
})
