/**
 * For the start of a script: `int(n)` writes a number without an exponent, `clock()` is Redis' time in milliseconds, so
 * that the clocks of the callers do not matter, and `micros()` the same in microseconds, for tokens that have to grow also
 * where Redis lost the last one. Ask one of them once per script.
 */
export const CLOCK_LUA = `
local function int(number) return string.format('%.0f', number) end
local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function clock() return math.floor(micros() / 1000) end
`

/**
 * For the start of a script that keeps leases: a sorted set of holders by the millisecond in which their lease ends.
 * Holds CLOCK_LUA.
 *
 * - `leaseForgive(leases, beats, now, lease, beat, forgives)`: notes that somebody renews now, in the field `beatAt` of the
 *   hash `beats`, and where `forgives` is true credits a pause in which nobody could: what it had over one heartbeat (`beat`
 *   ms) is added to every lease, none of which ends later than one taken now would. After one of more than one and a half each is whole
 *   again, once until its holder renews it, else the dead would live for as long as who renews is late each time; such a one ends
 *   at half a millisecond. Many who renew note it four times a heartbeat: a pause may look a quarter of one longer than it was.
 * - `leaseTake(leases, holder, now, lease)`: takes or renews a lease of `lease` ms; returns 1 where it is taken anew.
 * - `leaseLapsed(leases, now)`, `leaseLiving(leases, now)`: the holders whose lease has ended, or not.
 *
 * Closes: Redis was away, nobody could renew, and the first who is back would remove those who are slower, by up to a lease.
 */
export const LEASE_LUA = `${CLOCK_LUA}
local function leaseForgive(leases, beats, now, lease, beat, forgives)
  local last = redis.call('HGET', beats, 'beatAt')
  local pause = now - tonumber(last or now)
  if last and pause >= 0 and pause < beat / 4 then return end
  if forgives and pause > beat then
    local held = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
    for i = 1, #held, 2 do
      local ends, whole = math.floor(held[i + 1]), now + lease
      if ends < whole then
        local isForgiven = held[i + 1] - ends > 0
        if pause > 1.5 * beat and not isForgiven then ends, isForgiven = whole, true
        else ends = math.min(ends + pause - beat, whole) end
        redis.call('ZADD', leases, int(ends) .. (isForgiven and '.5' or ''), held[i])
      end
    end
  end
  redis.call('HSET', beats, 'beatAt', int(now))
end
local function leaseTake(leases, holder, now, lease) return redis.call('ZADD', leases, int(now + lease), holder) end
local function leaseLapsed(leases, now) return redis.call('ZRANGEBYSCORE', leases, '-inf', int(now)) end
local function leaseLiving(leases, now) return redis.call('ZRANGEBYSCORE', leases, '(' .. int(now), '+inf') end
`
