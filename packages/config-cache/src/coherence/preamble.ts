/**
 * Every script begins with this. KEYS[1] state (id, nonce, seq, open, space, lease, life), KEYS[2] members (id -> "renewed token host lease"),
 * KEYS[3] ops (opId -> "beat tags"), KEYS[4] tags (tag -> number of blocks); ARGV[1] nonce for a new epoch.
 *
 * Closes: state that is gone or comes from another run of the server (restart, failover, FLUSHALL, eviction of one of the four
 * keys, each of which carries the nonce in `_`) must never be taken for the present one. It starts anew, and closed.
 *
 * A server that names its history anew without ever having followed another's (no `master_replid2`) lost nothing: that is what
 * happens when the first replica is attached, and when the last one has been gone for long. Where INFO is forbidden the
 * script does not know which run of the server it is in: see server-run.ts. The tag `_` is written as '', which is no tag.
 *
 * A script is not undone where one of its commands is refused. `advance` and `publish` therefore raise nothing but return what Redis says: whoever
 * calls them takes back what he did, or leaves a state that is whole, in which a message is lost and the members miss its number.
 */
export const begin = `
local function info (section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or ''
end
local replication = info('replication')
local run, replid = string.match(info('server'), 'run_id:(%w+)'), string.match(replication, 'master_replid:(%w+)')
local id = run and replid and run .. ':' .. replid or nil
local state = redis.call('HMGET', KEYS[1], 'id', 'nonce', 'seq', 'open', 'space')
local nonce, seq, open, space = state[2], tonumber(state[3] or 0), state[4], state[5]
if id and state[1] and state[1] ~= id and string.match(state[1], '^%w+') == run and string.find(replication, 'master_replid2:0+[\\r\\n]') then
  redis.call('HSET', KEYS[1], 'id', id)
  state[1] = id
end
if (id and state[1] ~= id) or not nonce or redis.call('HGET', KEYS[2], '_') ~= nonce or redis.call('HGET', KEYS[3], '_') ~= nonce or redis.call('HGET', KEYS[4], '_') ~= nonce then
  nonce, seq, open, space = ARGV[1], 0, '0', ARGV[1]
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  redis.call('HSET', KEYS[1], 'id', id or '', 'nonce', nonce, 'seq', '0', 'open', '0', 'space', space)
  for i = 2, 4 do redis.call('HSET', KEYS[i], '_', nonce) end
end
local function advance ()
  local moved = redis.pcall('HINCRBY', KEYS[1], 'seq', 1)
  if type(moved) == 'table' then return moved end
  seq = moved
end
local function publish (channel, text)
  local told = redis.pcall('PUBLISH', channel, nonce .. ' ' .. seq .. ' ' .. text)
  if type(told) == 'table' then return told end
end
local function without_mark (list)
  local kept = {}
  for i = 1, #list, 2 do
    if list[i] ~= '_' then kept[#kept + 1] = list[i]; kept[#kept + 1] = list[i + 1] end
  end
  return kept
end
`
