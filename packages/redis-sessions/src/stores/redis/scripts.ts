import { defineScript, reply, type Script } from '@jpulse/redis-link'

/**
 * Shared by the scripts below. KEYS[1] session, KEYS[2] watermark, KEYS[3] index, KEYS[4] notices of the same group, in all of them.
 *
 * `live` reads the session and the watermark and returns the text only where it is alive. The clock is Redis' own, so the
 * clocks of the instances do not matter. MGET reads a foreign type as nothing, so garbage never fails a script.
 *
 * `index` notes when the session expires. The index and the notices stay a week longer, so that it can be told that it did:
 * `take` takes a session that timed out from both, and adds its hash, the time and its notice to what was found.
 */
const common = `
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local function number(text, from, to) return tonumber(string.sub(text, from, to)) end
local function live(absolute)
  local values = redis.call('MGET', KEYS[1], KEYS[2])
  local text, mark = values[1], tonumber(values[2] or '0') or 0
  if not text or string.sub(text, 1, 2) ~= 'S1' or #text < 56 then return nil end
  if number(text, 15, 30) <= mark or number(text, 31, 43) + absolute <= now then
    local member = string.match(KEYS[1], '[^:]+$')
    redis.call('UNLINK', KEYS[1])
    redis.pcall('ZREM', KEYS[3], member)
    redis.pcall('HDEL', KEYS[4], member)
    return nil
  end
  return text
end
local function index(member, ttl)
  if member == '' then return end
  redis.pcall('ZADD', KEYS[3], now + ttl, member)
  local stay = ttl + 604800000
  for _, key in ipairs({ KEYS[3], KEYS[4] }) do
    if redis.call('PTTL', key) < stay then redis.call('PEXPIRE', key, stay) end
  end
end
local function take(found, member, score)
  redis.pcall('ZREM', KEYS[3], member)
  local notice = redis.pcall('HGET', KEYS[4], member)
  if type(notice) ~= 'string' then return end
  redis.call('HDEL', KEYS[4], member)
  table.insert(found, member)
  table.insert(found, tostring(score))
  table.insert(found, notice)
end
local function forget(kept)
  local notice = kept ~= '' and redis.pcall('HGET', KEYS[4], kept)
  redis.call('UNLINK', KEYS[4])
  if type(notice) ~= 'string' then return end
  redis.call('HSET', KEYS[4], kept, notice)
  redis.call('PEXPIRE', KEYS[4], math.max(1, redis.call('PTTL', KEYS[3])))
end
local function header(version, stamp, created, touched)
  return 'S1' .. version .. string.format('%016.0f%013.0f%013.0f', stamp, created, touched)
end
`

export const KEYS = ['session', 'watermark', 'index', 'notices'] as const

/** A script of the keys of one session. */
export type SessionScript<Reply, Args extends readonly string[]> = Script<Reply, typeof KEYS, Args>

/**
 * Creates a session.
 *
 * ARGV: 1 version, 2 payload, 3 idle ms, 4 absolute ms, 5 member of the index or '', 6 stamp or '' for now, 7 created ms,
 * 8 last seen ms or '' for now, 9 what the clock of 6 to 8 says now or '' where it is Redis', 10 notice or '' for none. Returns
 * the stored text, and hash, time and notice of each of the user's sessions that timed out; nil where nothing was created.
 *
 * Closes: a session that is regenerated or restored while its user is logged out everywhere keeps its old stamp, so it is
 * refused; one made by a login after that is above the watermark even where the clock went back. NX: an ended session
 * whose tombstone stands is not restored.
 */
export const create = defineScript({
  name: 'redisSessionsCreateV2',
  keys: KEYS,
  args: ['version', 'payload', 'idleMs', 'absoluteMs', 'member', 'stamp', 'createdMs', 'seenMs', 'clockMs', 'notice'],
  reply: reply<string[] | null>(),
  lua: `${common}
local mark = tonumber(redis.call('MGET', KEYS[2])[1] or '0') or 0
local stamp, created, touched = math.max(micros, mark + 1), now, now
if ARGV[6] ~= '' then
  local shift = ARGV[9] == '' and 0 or now - tonumber(ARGV[9])
  stamp, created = tonumber(ARGV[6]) + shift * 1000, tonumber(ARGV[7]) + shift
  if ARGV[8] ~= '' then touched = math.min(now, tonumber(ARGV[8]) + shift) end
  if stamp <= mark then return nil end
end
local ttl = math.min(touched + ARGV[3], created + ARGV[4]) - now
if ttl <= 0 then return nil end
local text = header(ARGV[1], stamp, created, touched) .. ARGV[2]
if not redis.call('SET', KEYS[1], text, 'PX', ttl, 'NX') then return nil end
local found = { text }
if ARGV[5] == '' then return found end
if ARGV[10] ~= '' then redis.pcall('HSET', KEYS[4], ARGV[5], ARGV[10]) end
index(ARGV[5], ttl)
local gone = redis.pcall('ZRANGE', KEYS[3], '-inf', now - 1000, 'BYSCORE', 'LIMIT', 0, 100, 'WITHSCORES')
for i = 1, gone.err and 0 or #gone, 2 do take(found, gone[i], gone[i + 1]) end
return found
`
})

/**
 * Writes a payload over a known version (compare-and-set).
 *
 * ARGV: 1 version expected, 2 new version, 3 payload, 4 idle ms, 5 absolute ms, 6 member or '', 7 '0' where it does not count as seen.
 * Returns { 1, new header }, { 0, the text stored now } on conflict, { -1 } where the session is gone.
 *
 * Closes: two requests that loaded the same version both write (lost update); a request that loaded before a logout
 * writes after it (zombie).
 */
export const replace = defineScript({
  name: 'redisSessionsReplaceV3',
  keys: KEYS,
  args: ['expected', 'version', 'payload', 'idleMs', 'absoluteMs', 'member', 'isSeen'],
  reply: reply<[code: number, text?: string]>(),
  lua: `${common}
local text = live(tonumber(ARGV[5]))
if not text then return { -1 } end
if string.sub(text, 3, 14) ~= ARGV[1] then return { 0, text } end
local created, touched = number(text, 31, 43), now
local ttl = math.min(tonumber(ARGV[4]), created + ARGV[5] - now)
if ARGV[7] == '0' then touched, ttl = number(text, 44, 56), math.max(1, redis.call('PTTL', KEYS[1])) end
local head = header(ARGV[2], number(text, 15, 30), created, touched)
redis.call('SET', KEYS[1], head .. ARGV[3], 'PX', ttl)
index(ARGV[6], ttl)
return { 1, head }
`
})

/**
 * Slides the idle timeout. ARGV: 1 idle ms, 2 absolute ms, 3 member or '', 4 ms by which the note of it is dated back.
 * Returns 1, or 0 where the session is gone.
 *
 * Closes: an index that was evicted is rebuilt as its sessions are seen. Leaves the version, so no writer is disturbed.
 */
export const touch = defineScript({
  name: 'redisSessionsTouchV3',
  keys: KEYS,
  args: ['idleMs', 'absoluteMs', 'member', 'agoMs'],
  reply: reply<number>(),
  lua: `${common}
local text = live(tonumber(ARGV[2]))
if not text then return 0 end
local ttl = math.min(tonumber(ARGV[1]), number(text, 31, 43) + ARGV[2] - now)
redis.call('SETRANGE', KEYS[1], 43, string.format('%013.0f', now - ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ttl)
index(ARGV[3], ttl)
return 1
`
})

/**
 * Ends a session. ARGV: 1 member or '', 2 ms for which a tombstone refuses its restoration, '0' for none, 3 absolute ms.
 * Returns the text of the live session, or nil. The tombstone is a hash, so that it reads as nothing and is not counted.
 *
 * Closes: a restoration from the backup that read it before this logout would bring the session back after it.
 */
export const remove = defineScript({
  name: 'redisSessionsRemoveV2',
  keys: KEYS,
  args: ['member', 'tombstoneMs', 'absoluteMs'],
  reply: reply<string | null>(),
  lua: `${common}
local text = live(tonumber(ARGV[3]))
redis.call('UNLINK', KEYS[1])
if ARGV[2] ~= '0' then
  redis.call('HSET', KEYS[1], 'ended', 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if ARGV[1] ~= '' then
  redis.pcall('ZREM', KEYS[3], ARGV[1])
  redis.pcall('HDEL', KEYS[4], ARGV[1])
end
return text
`
})

/**
 * Forgets a session as if it had not been restored. ARGV: 1 version that it has, 2 member or '', 3 absolute ms. Returns 1, or 0 where it was left.
 *
 * Closes: a backup that fails between the two looks of a restoration leaves a session in doubt, which the next request would take
 * for alive; a tombstone would keep it out when the backup answers.
 */
export const takeBack = defineScript({
  name: 'redisSessionsTakeBackV1',
  keys: KEYS,
  args: ['version', 'member', 'absoluteMs'],
  reply: reply<number>(),
  lua: `${common}
local text = live(tonumber(ARGV[3]))
if not text or string.sub(text, 3, 14) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
if ARGV[2] ~= '' then redis.pcall('ZREM', KEYS[3], ARGV[2]) end
return 1
`
})

/**
 * Declares all sessions of a group void that exist now. KEYS[1] the session to keep, or the watermark again for none.
 *
 * ARGV: 1 age ms, 2 ms that the watermark stands, 3 '1' to keep KEYS[1], 4 absolute ms. Returns { watermark, members of the index }.
 *
 * Closes: sessions that the index lost (eviction) and logins that are under way; each read compares with the watermark,
 * so all are refused from here on, whatever happens to this process next.
 */
export const removeAll = defineScript({
  name: 'redisSessionsRemoveAllV2',
  keys: KEYS,
  args: ['ageMs', 'standsMs', 'keeps', 'absoluteMs'],
  reply: reply<[mark: string, members: string[]]>(),
  lua: `${common}
local keep = ARGV[3] == '1' and live(tonumber(ARGV[4]))
local old = tonumber(redis.call('MGET', KEYS[2])[1] or '0') or 0
local mark = math.max(old, micros - ARGV[1] * 1000)
redis.call('SET', KEYS[2], string.format('%.0f', mark), 'PX', ARGV[2])
if keep and number(keep, 15, 30) <= mark then redis.call('SETRANGE', KEYS[1], 14, string.format('%016.0f', mark + 1)) end
forget(keep and string.match(KEYS[1], '[^:]+$') or '')
local members = redis.pcall('ZRANGE', KEYS[3], 0, -1)
return { string.format('%.0f', mark), members.err and {} or members }
`
})

/**
 * Carries a logout-all out again whose watermark Redis lost. KEYS[1] the session to keep, or the watermark again for none.
 *
 * ARGV: 1 watermark, 2 ms that it stands, 3 '1' to keep KEYS[1], 4 absolute ms. Returns 1.
 *
 * Closes: by its age instead, a login right after it would depend on the time that the command took.
 */
export const endUpTo = defineScript({
  name: 'redisSessionsEndUpToV2',
  keys: KEYS,
  args: ['mark', 'standsMs', 'keeps', 'absoluteMs'],
  reply: reply<number>(),
  lua: `${common}
local keep = ARGV[3] == '1' and live(tonumber(ARGV[4]))
local mark = math.max(tonumber(redis.call('MGET', KEYS[2])[1] or '0') or 0, tonumber(ARGV[1]))
redis.call('SET', KEYS[2], string.format('%.0f', mark), 'PX', ARGV[2])
if keep and number(keep, 15, 30) <= mark then redis.call('SETRANGE', KEYS[1], 14, string.format('%016.0f', mark + 1)) end
forget(keep and string.match(KEYS[1], '[^:]+$') or '')
return 1
`
})

/**
 * Looks whether a session that is not there timed out. ARGV: 1 member. Returns its hash, the time and its notice, or nil.
 *
 * Closes: of two requests with one dead cookie both tell of it. Asked right at the end, so the index may be a moment behind the
 * server's own clock, by which the key went.
 */
export const missed = defineScript({
  name: 'redisSessionsMissedV1',
  keys: KEYS,
  args: ['member'],
  reply: reply<string[] | null>(),
  lua: `${common}
local score = redis.pcall('ZSCORE', KEYS[3], ARGV[1])
if type(score) ~= 'string' or tonumber(score) > now + 1000 or redis.call('EXISTS', KEYS[1]) == 1 then return nil end
local found = {}
take(found, ARGV[1], score)
return found
`
})
