import { defineScript, LEASE_LUA, reply, type RedisLink } from '@jpulse/redis-link'
import { Keys } from '../delivery/keys.ts'
import { Renewing } from '../presence/renewing.ts'

/**
 * `renews`: see `Renewing`. `process`: `<boot id>.<generation>`; generations of it from `former` on are over, and none of them is forgiven
 * a pause. Who gets no slot takes no lease either, since nobody would renew it.
 */
const SLOTS_LUA = `${LEASE_LUA}
local now, lease, renews = clock(), tonumber(ARGV[1]), ARGV[2] == '1'
local boot, generation = string.match(ARGV[3], '^(.*)%.(%d+)$')
for former = tonumber(ARGV[4]), tonumber(generation) - 1 do redis.call('ZREM', KEYS[2], boot .. '.' .. int(former)) end
if renews then leaseForgive(KEYS[2], KEYS[3], now, lease, lease / 3, true) end
local function take(process)
  for _, one in ipairs(leaseLapsed(KEYS[2], now)) do redis.call('ZREM', KEYS[2], one) end
  if not renews then leaseForgive(KEYS[2], KEYS[3], now, lease, lease / 3, false) end
  leaseTake(KEYS[2], process, now, lease)
end
local function keep() for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], int(4 * lease)) end end
`

/**
 * Claims a slot for a connection of a user, of those that it may have in all processes together.
 *
 * Hash `slots`: user → `<client id>@<process>#<number>` of each connection. Returns { 1 where it is claimed, the living process that
 * had the slot of the same client, or '' }.
 *
 * Closes: two workers that admit connections of one user at once both see room for one; a client that reconnects to another worker
 * before its old connection was found dead counts once; the slots of a killed worker are free when its lease has lapsed.
 */
const claimSlot = defineScript({
  name: 'wsNamespacesSlotClaimV3',
  keys: ['slots', 'leases', 'beats'],
  args: ['leaseMs', 'renews', 'process', 'former', 'user', 'client', 'number', 'most'],
  reply: reply<[claimed: number, replaced: string]>(),
  lua: `${SLOTS_LUA}
local process, user, client = ARGV[3], ARGV[5], ARGV[6]
local living = { [process] = true }
for _, one in ipairs(leaseLiving(KEYS[2], now)) do living[one] = true end
local kept, replaced = {}, ''
for id, holder, number in string.gmatch(redis.call('HGET', KEYS[1], user) or '', '([^%s@]+)@([^%s#]+)#(%d+)') do
  if living[holder] and id ~= client then kept[#kept + 1] = id .. '@' .. holder .. '#' .. number
  elseif living[holder] and holder ~= process then replaced = holder end
end
if #kept >= tonumber(ARGV[8]) then
  keep()
  return { 0, '' }
end
take(process)
kept[#kept + 1] = client .. '@' .. process .. '#' .. ARGV[7]
redis.call('HSET', KEYS[1], user, table.concat(kept, ' '))
keep()
return { 1, replaced }
`
})

/** Frees a slot, unless another connection has claimed it since. */
const freeSlot = defineScript({
  name: 'wsNamespacesSlotFreeV1',
  keys: ['slots'],
  args: ['user', 'slot'],
  reply: reply<number>(),
  lua: `
local kept = {}
for one in string.gmatch(redis.call('HGET', KEYS[1], ARGV[1]) or '', '%S+') do if one ~= ARGV[2] then kept[#kept + 1] = one end end
if #kept == 0 then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return redis.call('HSET', KEYS[1], ARGV[1], table.concat(kept, ' '))
`
})

/** Renews the lease of a process. Returns 1 where it had lapsed or was lost, so that its slots may be. */
const renewSlots = defineScript({
  name: 'wsNamespacesSlotRenewV3',
  keys: ['slots', 'leases', 'beats'],
  args: ['leaseMs', 'renews', 'process', 'former'],
  reply: reply<number>(),
  lua: `${SLOTS_LUA}
local ends = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[3]) or '0')
take(ARGV[3])
keep()
return ends <= now and 1 or 0
`
})

/** What all namespaces of a process share. */
export interface UserSlotsContext {
  readonly link: RedisLink
  readonly bootId: string
  readonly leaseMs: number
  /** A client reconnected here while another process still has its old connection. */
  onReplaced (namespace: string, userId: string, clientId: string): void
}

/** One for all namespaces of the process. */
let numbers = 0

/** Counts the connections of each user to one namespace over all processes. While Redis is away nobody is refused, and all count later. */
export class UserSlots {
  readonly #context: UserSlotsContext
  readonly #namespace: string
  readonly #keys: Keys
  readonly #own = new Map<number, { readonly userId: string, readonly clientId: string }>()
  /** Slots that were given back and are not free in Redis yet, with their users. */
  readonly #unfreed = new Map<string, string>()
  readonly #renewing: Renewing
  /** Whether one of ours may not be in Redis. */
  #isUncertain = false
  /** Grows when our lease may have lapsed: what is in Redis under the token before counts no more. */
  #generation = 0
  /** The first generation that may be in Redis. */
  #oldest = 1
  #renewedAt = -Infinity

  constructor (namespace: string, context: UserSlotsContext) {
    this.#context = context
    this.#namespace = namespace
    this.#keys = new Keys(context.link, namespace)
    this.#renewing = new Renewing(context.link.outages)
  }

  /** Whether nothing of this process is in Redis. */
  get isIdle (): boolean {
    return this.#own.size === 0 && this.#unfreed.size === 0 && this.#oldest >= this.#generation
  }

  /** Resolves with what frees the slot; null where the user has as many connections as it may. */
  async claim (userId: string, clientId: string, most: number): Promise<(() => void) | null> {
    const number = ++numbers
    this.#fence()
    try {
      if (!await this.#claim(userId, clientId, number, most)) return null
    } catch {
      this.#isUncertain = true
    }
    this.#own.set(number, { userId, clientId })
    return () => {
      this.#own.delete(number)
      this.#unfreed.set(`${clientId}@${this.#token}#${number}`, userId)
      this.#flush().catch(() => {})
    }
  }

  /** Called with each heartbeat. Rejects while Redis is away. */
  async renew (): Promise<void> {
    if (this.isIdle) return this.#renewing.idle()
    this.#fence()
    const { link, leaseMs } = this.#context
    await this.#flush()
    const generation = this.#generation
    const wasLost = await link.runScript(renewSlots, { keys: this.#all, args: [leaseMs, this.#renewing.flag, this.#token, this.#oldest] }) === 1
    this.#oldest = generation
    this.#renewed()
    if (!wasLost && !this.#isUncertain) return
    this.#isUncertain = false
    try {
      for (const [number, { userId, clientId }] of this.#own) await this.#claim(userId, clientId, number, Infinity)
    } catch (err) {
      this.#isUncertain = true
      throw err
    }
  }

  /** What fails because Redis is away is tried again with the next heartbeat. */
  async #flush (): Promise<void> {
    await Promise.all([...this.#unfreed].map(async ([slot, userId]) => {
      await this.#context.link.runScript(freeSlot, { keys: [this.#keys.slots], args: [userId, slot] })
      this.#unfreed.delete(slot)
    }))
  }

  #renewed (): void {
    this.#renewedAt = performance.now()
    this.#renewing.renewed()
  }

  get #token (): string {
    return `${this.#context.bootId}.${this.#generation}`
  }

  /** After an outage of a lease, slots that could not be freed meanwhile end with it: ours are claimed under a new token, theirs are not. */
  #fence (): void {
    const now = performance.now()
    if (now - this.#renewedAt <= this.#context.leaseMs) return
    this.#renewedAt = now
    this.#generation++
    this.#unfreed.clear()
    this.#isUncertain = this.#own.size > 0
  }

  get #all (): [slots: string, leases: string, beats: string] {
    return [this.#keys.slots, this.#keys.slotLeases, this.#keys.slotBeats]
  }

  async #claim (userId: string, clientId: string, number: number, most: number): Promise<boolean> {
    const { link, bootId, leaseMs, onReplaced } = this.#context
    const generation = this.#generation
    const [claimed, replaced] = await link.runScript(claimSlot, { keys: this.#all, args: [leaseMs, this.#renewing.flag, this.#token, this.#oldest, userId, clientId, number, most === Infinity ? Number.MAX_SAFE_INTEGER : most] })
    this.#oldest = generation
    if (claimed === 1) this.#renewed()
    if (replaced !== '' && !replaced.startsWith(`${bootId}.`)) onReplaced(this.#namespace, userId, clientId)
    return claimed === 1
  }
}
