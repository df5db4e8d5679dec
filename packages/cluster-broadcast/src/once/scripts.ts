import { CLOCK_LUA, defineScript, reply } from '@jpulse/redis-link'

/**
 * Claims a `once`.
 *
 * `token` of the caller, `awaited`: token of the holder that the caller waited for, or ''. Returns { 'won', 'running' or
 * 'done', ms left, token of the holder }.
 *
 * Closes: who asks again after a lost answer recognises its own claim; and who waited, and wakes after the claim's end,
 * learns that the holder was done and does not do it once more. What it cannot
 * read is a claim of a later release: it is left as it is, and waited for.
 */
export const claim = defineScript({
  name: 'clusterBroadcastClaimV1',
  keys: ['claim'],
  args: ['token', 'ttlMs', 'awaited'],
  reply: reply<[state: 'won' | 'running' | 'done', leftMs: number, holder: string]>(),
  lua: `${CLOCK_LUA}
local now = clock()
local found = redis.call('GET', KEYS[1]) or ''
local state, holder, lapse = string.match(found, '^(%l+) (%w+) (%d+)$')
if found ~= '' and not state then return { 'running', math.max(redis.call('PTTL', KEYS[1]), 1000), '' } end
if state == 'done' and holder == ARGV[3] then return { 'done', 0, holder } end
if state == 'running' and holder == ARGV[1] then return { 'won', redis.call('PTTL', KEYS[1]), holder } end
if state and tonumber(lapse) > now then return { state, tonumber(lapse) - now, holder } end
redis.call('SET', KEYS[1], 'running ' .. ARGV[1] .. ' ' .. int(now + ARGV[2]), 'PX', ARGV[2])
return { 'won', tonumber(ARGV[2]), ARGV[1] }
`
})

/** How long a claim that is done can be recognised after its end, by those who waited for it. */
const DONE_MS = 10_000

/**
 * Marks a claim as done. `channel` of those who wait. Returns 1, or 0 where it had lapsed. Closes: a holder that was late must
 * not end the claim of its successor. Where the user may not publish, those who wait poll.
 */
export const done = defineScript({
  name: 'clusterBroadcastDoneV1',
  keys: ['claim'],
  args: ['token', 'name', 'channel'],
  reply: reply<number>(),
  lua: `
local state, holder, lapse = string.match(redis.call('GET', KEYS[1]) or '', '^(%l+) (%w+) (%d+)$')
if state ~= 'running' or holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done ' .. holder .. ' ' .. lapse, 'PX', redis.call('PTTL', KEYS[1]) + ${DONE_MS})
redis.pcall('PUBLISH', ARGV[3], ARGV[2])
return 1
`
})

/**
 * Gives a claim back under which nothing was run, and wakes those who wait. Returns 1, or 0 where it was not the caller's.
 * Closes: a claim whose answer was lost would keep everybody from the work for its whole time, and nobody would do it.
 */
export const giveBack = defineScript({
  name: 'clusterBroadcastGiveBackV1',
  keys: ['claim'],
  args: ['token', 'name', 'channel'],
  reply: reply<number>(),
  lua: `
local state, holder = string.match(redis.call('GET', KEYS[1]) or '', '^(%l+) (%w+) %d+$')
if state ~= 'running' or holder ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[3], ARGV[2])
return 1
`
})
