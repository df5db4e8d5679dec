import { callback, checker, opaque } from '@jpulse/plugin-kit'
import type { Messages, Protocol } from '@jpulse/ws-client'
import type { FastifyRequest } from 'fastify'
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { bytesAware } from './bytes.ts'
import type { Connection, Identity } from './connection.ts'
import { NamePattern, type Params } from './names.ts'
import { invalidOption, type History, type Limits } from '../options.ts'

type Maybe<T> = T | Promise<T>

/** What a client sends, by the namespace's schema, or by its `Protocol` of @jpulse/ws-client. */
export type MessageOf<Schema extends TSchema> = Schema extends Protocol
  ? { [T in keyof Schema['toServer'] & string]: undefined extends Schema['toServer'][T] ? { type: T, data?: Schema['toServer'][T] } : { type: T, data: Schema['toServer'][T] } }[keyof Schema['toServer'] & string]
  : unknown extends Static<Schema> ? { type: string, data?: unknown } : Static<Schema>

/** A message as a handler gets it. `id` stands where the client waits for an answer. */
export type Incoming<Schema extends TSchema = TSchema> = MessageOf<Schema> & { readonly id?: string | number }

/** What is answered to clients: by the `answers` of the `Protocol`, else anything. */
type AnswerOf<Schema> = Schema extends { answers: infer Answers extends Messages } ? Answers[keyof Answers] : unknown

/** What `onMessage` returns, where answers are declared. */
export type Returned<Schema> = Schema extends { answers: Messages } ? Maybe<AnswerOf<Schema> | void> : any

/** Answers the message; further calls do nothing. The type is the message's own where none is given. */
export type Reply<Schema = TSchema> = (data?: AnswerOf<Schema>, type?: string) => void

/**
 * Options of a namespace.
 *
 * @typeParam Result what `onMessage` returns. `any` and not `unknown`: only with that TypeScript lets a handler refer to the namespace
 * which is being created, `const chat = create('chat', { onMessage: () => chat.stats() })`.
 * @typeParam Given the parameters of the name
 */
export interface NamespaceOptions<Schema extends TSchema = TSchema, Ctx extends Identity = Identity, Result = any, Given = Params> {
  /**
   * Who may connect, awaited before the upgrade. `false` is a 403, null a 401, an error with a 4xx `statusCode` that.
   *
   * @default whoever is logged in by @jpulse/redis-sessions; where that is not registered nobody but in a public namespace
   */
  authorize?: ((request: FastifyRequest, params: Given) => Maybe<Ctx | false | null | undefined>) | undefined
  /**
   * Who a client is by the credentials that it sends before its authorisation ends; those of `authorize` come with a request. Returns
   * what `authorize` returns, of the same user; anything else changes nothing. @default the authorisation cannot be renewed
   */
  renew?: ((conn: Connection<Ctx, Schema>, credentials: string) => Maybe<Ctx | false | null | undefined>) | undefined
  /** Whether clients without a session may connect. @default false */
  public?: boolean | undefined
  /** Origins of the pages that may connect, exactly as browsers send them; `'*'` for all. @default the origin of the request's own host */
  origins?: string[] | undefined
  /** TypeBox schema of what clients may send: one whole message or a union of them. @default any type and data */
  schema?: Schema | (Schema extends Protocol ? TSchema : never) | undefined
  /** See `Limits`; what is not given has its default. */
  limits?: { readonly [Name in keyof Limits]?: Limits[Name] | undefined } | undefined
  /**
   * Keeps messages for clients that come back: `maxLength` 1 to 10000 of them for `maxAgeMs`, 1000 to 3600000. `id`, of 1 to 64 of
   * `A-Z a-z 0-9 _ -` and by default none, says which history it is: a namespace that is made anew under another one has nothing of what
   * the former of its name kept, nor what a process that still has that one keeps; what is `volatile` and presence go by the name alone. @default false
   */
  history?: false | { maxLength?: number | undefined, maxAgeMs?: number | undefined, id?: string | undefined } | undefined
  /**
   * Whether clients hear who comes and goes. A user whose last connection ended is there for another `graceMs`, 0 to 60000 and 3000
   * by default, so that a page that is loaded anew is no news. @default false
   */
  presence?: boolean | { graceMs?: number | undefined } | undefined
  /** What clients may send to each other without a handler. @default [] */
  relay?: Array<'broadcast' | 'user' | 'room'> | undefined
  /** Whether clients may join and leave rooms by themselves, or who which one. @default false */
  clientRooms?: boolean | ((conn: Connection<Ctx, Schema>, room: string) => Maybe<boolean>) | undefined
  /** Fields of `ctx` that others see beside `userId` in what a client relays. @default [] */
  publicFields?: string[] | undefined
  /** Called before the client hears of its connection: what it joins here is recovered with the rest. */
  onConnect?: ((conn: Connection<Ctx, Schema>) => any) | undefined
  /** What it returns, or resolves with, is the answer where the client waits for one; or it calls `reply`. */
  onMessage?: ((conn: Connection<Ctx, Schema>, message: Incoming<Schema>, reply: Reply<Schema>) => Result) | undefined
  onDisconnect?: ((conn: Connection<Ctx, Schema>, closed: { code: number, reason: string }) => any) | undefined
}

/** A namespace as it was created, checked. */
export interface Definition {
  readonly name: NamePattern
  readonly authorize?: (request: FastifyRequest, params: Params) => Maybe<Identity | false | null | undefined>
  readonly renew?: (conn: Connection, credentials: string) => Maybe<Identity | false | null | undefined>
  readonly public: boolean
  readonly origins: ReadonlySet<string> | null
  readonly messages: MessageCheck | null
  readonly schema: TSchema | null
  readonly limits: Limits
  readonly history: History | null
  /** Null where there is none. */
  readonly presence: { readonly graceMs: number } | null
  readonly relay: ReadonlySet<string>
  readonly clientRooms: boolean | ((conn: Connection, room: string) => Maybe<boolean>)
  readonly publicFields: readonly string[]
  readonly onConnect?: (conn: Connection) => unknown
  readonly onMessage?: (conn: Connection, message: { type: string, data?: unknown, id?: string | number }, reply: Reply) => unknown
  readonly onDisconnect?: (conn: Connection, closed: { code: number, reason: string }) => unknown
}

/** What may be sent: the types, and the check of a whole message. */
interface MessageCheck {
  /** Null where the schema does not say. */
  readonly types: ReadonlySet<string> | null
  check (message: { readonly type: string, readonly data?: unknown }): boolean
}

const DEFAULT_LIMITS: Limits = Object.freeze({
  maxMessageBytes: 65_536,
  messages: 50,
  windowMs: 1000,
  maxBufferedBytes: 1024 * 1024,
  rooms: 256,
  maxConnections: Infinity,
  maxConnectionsPerUser: Infinity
})

const GRACE_MS = 3000

const closed = { additionalProperties: false }
const positive = (maximum: number) => Type.Optional(Type.Integer({ minimum: 1, maximum }))

const handler = () => Type.Optional(callback<(...args: never[]) => unknown>())
const count = Type.Optional(opaque<number>('a whole number, 0 or more, or Infinity', (value) => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 0)))

const Options = Type.Object({
  authorize: handler(),
  renew: handler(),
  public: Type.Optional(Type.Boolean()),
  origins: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
  schema: Type.Optional(opaque<TSchema>('a TypeBox schema', (value) => typeof value === 'object' && value !== null)),
  limits: Type.Optional(Type.Object({
    maxMessageBytes: positive(16 * 1024 * 1024),
    messages: positive(1_000_000),
    windowMs: positive(3_600_000),
    maxBufferedBytes: positive(1024 * 1024 * 1024),
    rooms: positive(100_000),
    maxConnections: count,
    maxConnectionsPerUser: count
  }, closed)),
  history: Type.Optional(Type.Union([Type.Literal(false), Type.Object({
    maxLength: positive(10_000),
    maxAgeMs: Type.Optional(Type.Integer({ minimum: 1000, maximum: 3_600_000 })),
    id: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$', wanted: '1 to 64 letters, digits, _ and -' }))
  }, closed)])),
  presence: Type.Optional(Type.Union([Type.Boolean(), Type.Object({ graceMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 60_000 })) }, closed)])),
  relay: Type.Optional(Type.Array(Type.Enum(['broadcast', 'user', 'room']))),
  clientRooms: Type.Optional(Type.Union([Type.Boolean(), callback<(...args: never[]) => unknown>()])),
  publicFields: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
  onConnect: handler(),
  onMessage: handler(),
  onDisconnect: handler()
}, closed)

const check = checker(Options, invalidOption)

/** @throws FST_ERR_WS_NAMESPACES_INVALID_OPTION, _INVALID_NAME */
export function define (name: unknown, options: NamespaceOptions<never, never>, maxPayloadBytes: number): Definition {
  const pattern = new NamePattern(name)
  const { schema, limits: own, history, origins, relay, publicFields, public: isPublic = false, presence = false, clientRooms = false, ...handlers } = check(options)
  const limits = Object.freeze({ ...DEFAULT_LIMITS, maxMessageBytes: Math.min(DEFAULT_LIMITS.maxMessageBytes, maxPayloadBytes), ...own })
  if (limits.maxMessageBytes > maxPayloadBytes) throw invalidOption('limits.maxMessageBytes', `must not exceed maxPayloadBytes (${maxPayloadBytes})`)
  return Object.freeze({
    name: pattern,
    ...handlers as Pick<Definition, 'authorize' | 'renew' | 'onConnect' | 'onMessage' | 'onDisconnect'>,
    public: isPublic,
    origins: origins === undefined ? null : new Set(origins),
    messages: schema === undefined ? null : compile(schema),
    schema: schema ?? null,
    limits,
    history: history === undefined || history === false ? null : historyOf(history),
    presence: presence === false ? null : { graceMs: GRACE_MS, ...(presence === true ? {} : presence) },
    relay: new Set(relay),
    clientRooms: clientRooms as Definition['clientRooms'],
    publicFields: Object.freeze([...publicFields ?? []])
  })
}

function historyOf ({ maxLength = 200, maxAgeMs = 120_000, id = '' }: { maxLength?: number, maxAgeMs?: number, id?: string }): History {
  return Object.freeze({ id, maxLength, maxAgeMs, stateMs: Math.max(4 * maxAgeMs, 600_000), markEvery: Math.max(1, Math.floor(maxLength / 4)) })
}

function compile (schema: TSchema): MessageCheck {
  let check: MessageCheck['check']
  try {
    const compiled = Compile(schema)
    check = bytesAware((message) => compiled.Check(message))
  } catch (err) {
    throw invalidOption('schema', `cannot be compiled: ${(err as Error).message}`)
  }
  const types = typesOf(schema)
  return { types: types === null ? null : new Set(types), check }
}

/** The literal types of a union of messages; null where one of them is no literal. */
function typesOf (schema: unknown): string[] | null {
  const { anyOf, properties } = schema as { anyOf?: unknown[], properties?: { type?: { const?: unknown, enum?: unknown[], anyOf?: Array<{ const?: unknown }> } } }
  if (Array.isArray(anyOf)) {
    const all = anyOf.map(typesOf)
    return all.includes(null) ? null : all.flat() as string[]
  }
  const type = properties?.type
  const values = type?.const === undefined ? type?.enum ?? type?.anyOf?.map((one) => one.const) : [type.const]
  return Array.isArray(values) && values.every((value) => typeof value === 'string') ? values as string[] : null
}
