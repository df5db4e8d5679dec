import { isThenable } from '@jpulse/plugin-kit'
import { HEARTBEAT, RENEW } from '@jpulse/ws-client/wire'
import { Close, RESERVED, type ErrorCode } from '../codes.ts'
import type { Reply } from './definition.ts'
import { endOfJson, envelope, Frame } from '../delivery/frame.ts'
import { FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE } from '../errors.ts'
import { isName } from '../ids.ts'
import { renew, type Expiries } from './authorization.ts'
import type { Answered as Recorded, Once } from './once.ts'
import { publicCtx, type Peer } from './peer.ts'
import type { Stalls } from './stalls.ts'

/** A message as JSON.parse gave it, of which the form is checked. */
interface Parsed {
  /** Always there, but in an answer. */
  readonly type: string
  readonly data?: unknown
  readonly id?: string | number
  readonly replyTo?: unknown
  readonly error?: unknown
  readonly userId?: unknown
  readonly roomId?: unknown
  /** The client may send it again, and it is to be handled once. */
  readonly once?: unknown
}

export type Answered = (id: string, answer: { data?: unknown, error?: unknown }, conn: Peer) => boolean

type Outcome = 'handled' | 'unknown'

/** Times the limit that closes the connection. */
const ABUSE = 4
const LONGEST_ID = 256
/** After this a request is answered with NO_REPLY, whatever its handler still does. */
const ANSWER_MS = 30_000

/** Checks what clients send and hands it to its handler. Nothing that a client sends makes it throw. */
export class Dispatcher {
  readonly #answered: Answered
  readonly #onMessage: (conn: Peer) => void
  readonly #once: Once
  readonly #expiries: Expiries
  readonly #stalls: Stalls

  /**
   * @param answered takes what answers a request of the cluster; returns whether it was one
   * @param onMessage hears of each message that is one, but for heartbeats
   */
  constructor (answered: Answered, onMessage: (conn: Peer) => void, once: Once, expiries: Expiries, stalls: Stalls) {
    this.#answered = answered
    this.#onMessage = onMessage
    this.#once = once
    this.#expiries = expiries
    this.#stalls = stalls
  }

  receive (conn: Peer, bytes: Buffer, isBinary: boolean): void {
    const now = performance.now()
    this.#stalls.look(now)
    conn.transport.socket.heardAt = now
    // A channel cannot be paused: a client may send before its `connected`, which nothing has processed yet.
    if (conn.ended !== null || !conn.isStarted) return
    const { hub } = conn
    const end = isBinary ? endOfJson(bytes) : bytes.length
    if (end === -1) {
      hub.drops.invalid++
      return conn.close(Close.unsupported, 'a binary message begins with JSON and a line feed')
    }
    hub.count()
    const { limits } = hub.definition
    const rate = this.#rate(conn, now)
    const most = limits.messages * this.#stalls.windows(now, limits.windowMs)
    if (rate > ABUSE * most) {
      hub.drops.rateLimit++
      return conn.close(Close.abuse, 'too many messages')
    }
    const message = parse(bytes, end, isBinary)
    if (bytes.length > limits.maxMessageBytes) {
      hub.drops.oversize++
      return conn.fail('MESSAGE_TOO_LARGE', idOf(message))
    }
    if (rate > most) {
      hub.drops.rateLimit++
      return conn.fail('RATE_LIMIT_EXCEEDED', idOf(message))
    }
    if (!isMessage(message)) {
      hub.drops.invalid++
      return conn.fail('INVALID_MESSAGE', idOf(message))
    }
    if (message.type === HEARTBEAT) return conn.transport.socket.beat()
    this.#onMessage(conn)
    // An answer is none to be answered, so nothing would end its claim.
    if (message.once !== true || message.id === undefined || message.replyTo !== undefined) this.#handle(conn, message)
    else this.#once.take(conn, message.id, (record) => this.#handle(conn, message, record))
  }

  /** Messages of this window, this one included. */
  #rate (conn: Peer, now: number): number {
    if (now - conn.windowAt >= conn.hub.definition.limits.windowMs) {
      conn.windowAt = now
      conn.windowCount = 0
    }
    return ++conn.windowCount
  }

  #handle (conn: Peer, message: Parsed, record?: (answer: Recorded) => void): void {
    if (typeof message.replyTo === 'string' && this.#answered(message.replyTo, message, conn)) return
    const pending = new Answer(conn, message, record)
    // A reply whose request is not known, or over.
    if (message.type === undefined) {
      pending.invalid()
      return
    }
    let outcome: unknown
    try {
      outcome = this.#builtIn(conn, message, message.id === undefined ? noReply : pending.reply) ?? this.#own(conn, message, pending)
    } catch (err) {
      return pending.failed(err)
    }
    if (isThenable(outcome)) {
      pending.wait()
      outcome.then((result) => pending.over(result as Outcome), (err: unknown) => pending.failed(err))
    } else pending.over(outcome as Outcome)
  }

  /** Relays, rooms and renewals, where the namespace has them; null elsewhere. */
  #builtIn (conn: Peer, message: Parsed, reply: Reply): Outcome | Promise<Outcome> | null {
    const { definition } = conn.hub
    if (definition.relay.has(message.type)) return relay(conn, message, reply)
    if (definition.clientRooms !== false && (message.type === 'join' || message.type === 'leave')) return enterOrLeave(conn, message, reply)
    if (definition.renew !== undefined && message.type === RENEW) return renewed(conn, message, reply, this.#expiries)
    return null
  }

  #own (conn: Peer, message: Parsed, pending: Answer): Outcome | Promise<Outcome> {
    const { hub } = conn
    const { messages, onMessage } = hub.definition
    const { type, data, id } = message
    if (RESERVED.has(type)) return 'unknown'
    if (messages !== null) {
      if (messages.types !== null && !messages.types.has(type)) return 'unknown'
      if (!messages.check(data === undefined ? { type } : { type, data })) return pending.invalid()
    }
    if (onMessage === undefined) return 'unknown'
    const returned = onMessage(conn, { type, ...(data === undefined ? {} : { data }), ...(id === undefined ? {} : { id }) }, pending.reply)
    return isThenable(returned) ? Promise.resolve(returned).then((value) => pending.returned(value)) : pending.returned(returned)
  }
}

/** The answer to one message: exactly one where it has an id, none where it has not. */
class Answer {
  readonly #conn: Peer
  readonly #type: string
  readonly #id: string | number | undefined
  readonly #record: ((answer: Recorded) => void) | undefined
  #settled = false
  #timer: NodeJS.Timeout | undefined

  constructor (conn: Peer, { type, id }: Parsed, record?: (answer: Recorded) => void) {
    this.#record = record
    this.#conn = conn
    this.#type = type
    this.#id = id
  }

  readonly reply: Reply = (data, type = this.#type) => {
    if (this.#settled) return
    const message = envelope(type, data, this.#id === undefined ? undefined : { replyTo: this.#id })
    this.#conn.hub.measure(message)
    this.#settle()
    this.#record?.(message)
    this.#conn.deliver(new Frame(message.json, message.bytes), null, false)
  }

  /** What a handler returns is the answer, unless it called `reply`. */
  returned (value: unknown): Outcome {
    if (value !== undefined && this.#id !== undefined) this.reply(value)
    return 'handled'
  }

  wait (): void {
    if (this.#id !== undefined && !this.#settled) this.#timer = setTimeout(() => this.over('handled'), ANSWER_MS).unref()
  }

  over (outcome: Outcome): void {
    if (outcome === 'unknown') {
      this.#conn.hub.drops.invalid++
      this.#fail('UNKNOWN_TYPE')
    } else if (this.#id === undefined) this.#settle()
    else this.#fail('NO_REPLY')
  }

  invalid (): Outcome {
    this.#conn.hub.drops.invalid++
    this.#fail('INVALID_MESSAGE')
    return 'handled'
  }

  /** The client learns that the handler failed, never the error's text. */
  failed (err: unknown): void {
    if (err instanceof Refusal) {
      if (err.code === 'INVALID_MESSAGE') this.#conn.hub.drops.invalid++
      if (err.code === 'MESSAGE_TOO_LARGE') this.#conn.hub.drops.oversize++
      return this.#fail(err.code)
    }
    this.#conn.hub.log.error({ err, namespace: this.#conn.namespace, type: this.#type }, 'a message could not be handled')
    this.#fail('HANDLER_FAILED')
  }

  #fail (code: ErrorCode): void {
    if (!this.#settle()) return
    this.#record?.({ code })
    this.#conn.fail(code, this.#id)
  }

  /** Whether this call settled it. */
  #settle (): boolean {
    clearTimeout(this.#timer)
    const was = this.#settled
    this.#settled = true
    return !was
  }
}

const noReply: Reply = () => {}

class Refusal extends Error {
  readonly code: ErrorCode

  constructor (code: ErrorCode) {
    super(code)
    this.code = code
  }
}

async function relay (conn: Peer, { type, data, userId, roomId }: Parsed, reply: Reply): Promise<Outcome> {
  const { hub } = conn
  const ctx = publicCtx(conn)
  const send = async (topic: 'broadcast' | `user:${string}` | `room:${string}`, rest: object = {}) => {
    try {
      return await hub.publish({ topic, ...envelope(type, data, { ctx, ...rest }), except: '', volatile: false })
    } catch (err) {
      // The client's fault, and not one of a handler.
      throw err instanceof FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE ? new Refusal('MESSAGE_TOO_LARGE') : err
    }
  }
  const target = type === 'user' ? userId : roomId
  if (type !== 'broadcast' && !isName(target)) throw new Refusal('INVALID_MESSAGE')
  const delivered = await (type === 'broadcast' ? send('broadcast') : type === 'user' ? send(`user:${target as string}`) : send(`room:${target as string}`, { roomId: target }))
  reply({ delivered })
  return 'handled'
}

async function enterOrLeave (conn: Peer, { type, data }: Parsed, reply: Reply): Promise<Outcome> {
  const room = (data as { room?: unknown } | null | undefined)?.room
  if (!isName(room)) throw new Refusal('INVALID_MESSAGE')
  if (type === 'leave') conn.leave(room)
  else if (await conn.mayEnter(room)) await enter(conn, room)
  else throw new Refusal('FORBIDDEN')
  reply({ room })
  return 'handled'
}

async function renewed (conn: Peer, { data }: Parsed, reply: Reply, expiries: Expiries): Promise<Outcome> {
  const end = await renew(conn, data, expiries)
  if (end === null) throw new Refusal('RENEWAL_REFUSED')
  reply(end)
  return 'handled'
}

async function enter (conn: Peer, room: string): Promise<void> {
  if (!conn.rooms.has(room) && conn.rooms.size >= conn.hub.definition.limits.rooms) throw new Refusal('TOO_MANY_ROOMS')
  await conn.membership.enter(room, true)
}

/** In a binary message the data are what follows on its JSON; a copy, because the Buffer is of more than this message. */
function parse (bytes: Buffer, end: number, isBinary: boolean): unknown {
  try {
    const message: unknown = JSON.parse(bytes.toString('utf8', 0, end))
    return isBinary && typeof message === 'object' && message !== null ? { ...message, data: Uint8Array.from(bytes.subarray(end + 1)) } : message
  } catch {
    return undefined
  }
}

function isMessage (message: unknown): message is Parsed {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return false
  const { type, id, replyTo } = message as Record<string, unknown>
  if (id !== undefined && idOf(message) === undefined) return false
  return (typeof type === 'string' && type.length > 0 && type.length <= LONGEST_ID) || (type === undefined && typeof replyTo === 'string')
}

function idOf (message: unknown): string | number | undefined {
  if (typeof message !== 'object' || message === null || !Object.hasOwn(message, 'id')) return undefined
  const { id } = message as { id: unknown }
  return (typeof id === 'string' && id.length <= LONGEST_ID) || (typeof id === 'number' && Number.isFinite(id)) ? id : undefined
}
