import { defineScript, reply } from '@jpulse/redis-link'

/**
 * Shared by the scripts below. KEYS[1] session, KEYS[2] watermark, KEYS[3] index of the same group, in all of them.
 *
 * `live` reads the session and the watermark and returns the text only where it is alive. The clock is Redis' own, so the
 * clocks of the instances do not matter. MGET reads a foreign type as nothing, so garbage never fails a script.
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
    redis.call('UNLINK', KEYS[1])
    redis.pcall('ZREM', KEYS[3], string.match(KEYS[1], '[^:]+$'))
    return nil
  end
  return text
end
local function index(member, ttl)
  if member == '' then return end
  redis.pcall('ZADD', KEYS[3], now + ttl, member)
  redis.pcall('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('PTTL', KEYS[3]) < ttl then redis.call('PEXPIRE', KEYS[3], ttl) end
end
local function header(version, stamp, created, touched)
  return 'S1' .. version .. string.format('%016.0f%013.0f%013.0f', stamp, created, touched)
end
`

const KEYS = ['session', 'watermark', 'index'] as const

/**
 * Creates a session.
 *
 * ARGV: 1 version, 2 payload, 3 idle ms, 4 absolute ms, 5 member of the index or '', 6 stamp or '' for now, 7 created ms,
 * 8 last seen ms or '' for now, 9 what the clock of 6 to 8 says now or '' where it is Redis'. Returns the stored text, or nil.
 *
 * Closes: a session that is regenerated or restored while its user is logged out everywhere keeps its old stamp, so it is
 * refused; one made by a login after that is above the watermark even where the clock went back. NX: an ended session
 * whose tombstone stands is not restored.
 */
export const create = defineScript({
  name: 'redisSessionsCreateV1',
  keys: KEYS,
  args: ['version', 'payload', 'idleMs', 'absoluteMs', 'member', 'stamp', 'createdMs', 'seenMs', 'clockMs'],
  reply: reply<string | null>(),
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
index(ARGV[5], ttl)
return text
`
})

/**
 * Writes a payload over a known version (compare-and-set).
 *
 * ARGV: 1 version expected, 2 new version, 3 payload, 4 idle ms, 5 absolute ms, 6 member or ''.
 * Returns { 1, new header }, { 0, the text stored now } on conflict, { -1 } where the session is gone.
 *
 * Closes: two requests that loaded the same version both write (lost update); a request that loaded before a logout
 * writes after it (zombie).
 */
export const replace = defineScript({
  name: 'redisSessionsReplaceV1',
  keys: KEYS,
  args: ['expected', 'version', 'payload', 'idleMs', 'absoluteMs', 'member'],
  reply: reply<[code: number, text?: string]>(),
  lua: `${common}
local text = live(tonumber(ARGV[5]))
if not text then return { -1 } end
if string.sub(text, 3, 14) ~= ARGV[1] then return { 0, text } end
local created = number(text, 31, 43)
local ttl = math.min(tonumber(ARGV[4]), created + ARGV[5] - now)
local head = header(ARGV[2], number(text, 15, 30), created, now)
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
  name: 'redisSessionsTouchV2',
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
  name: 'redisSessionsRemoveV1',
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
if ARGV[1] ~= '' then redis.pcall('ZREM', KEYS[3], ARGV[1]) end
return text
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
  name: 'redisSessionsRemoveAllV1',
  keys: KEYS,
  args: ['ageMs', 'standsMs', 'keeps', 'absoluteMs'],
  reply: reply<[mark: string, members: string[]]>(),
  lua: `${common}
local keep = ARGV[3] == '1' and live(tonumber(ARGV[4]))
local old = tonumber(redis.call('MGET', KEYS[2])[1] or '0') or 0
local mark = math.max(old, micros - ARGV[1] * 1000)
redis.call('SET', KEYS[2], string.format('%.0f', mark), 'PX', ARGV[2])
if keep and number(keep, 15, 30) <= mark then redis.call('SETRANGE', KEYS[1], 14, string.format('%016.0f', mark + 1)) end
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
  name: 'redisSessionsEndUpToV1',
  keys: KEYS,
  args: ['mark', 'standsMs', 'keeps', 'absoluteMs'],
  reply: reply<number>(),
  lua: `${common}
local keep = ARGV[3] == '1' and live(tonumber(ARGV[4]))
local mark = math.max(tonumber(redis.call('MGET', KEYS[2])[1] or '0') or 0, tonumber(ARGV[1]))
redis.call('SET', KEYS[2], string.format('%.0f', mark), 'PX', ARGV[2])
if keep and number(keep, 15, 30) <= mark then redis.call('SETRANGE', KEYS[1], 14, string.format('%016.0f', mark + 1)) end
return 1
`
})
