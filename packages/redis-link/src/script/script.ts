import type { Cluster, Redis } from 'ioredis'

/** What ioredis offers: one server (also one found through Sentinel) or a Redis Cluster. */
export type RedisClient = Redis | Cluster

/** What an argument of a script may be. ioredis writes numbers as text. */
export type ScriptValue = string | number | Buffer

/** The values for a list of names: as many as there are names, and any number more where the last one begins with `...`. */
export type ScriptValues<Names extends readonly string[], Value> = Names extends readonly [...infer Fixed extends readonly string[], `...${string}`]
  ? readonly [...{ [Name in keyof Fixed]: Value }, ...Value[]]
  : { readonly [Name in keyof Names]: Value }

/** What a script answers, and whether its texts arrive as Buffers. The type parameter is all that it knows of the type. */
export interface ScriptReply<Reply> {
  readonly as: 'text' | 'buffers'
  /** Never set. */
  readonly type?: Reply
}

/** One Lua script: made by `defineScript`, run by `redisLink.runScript`. */
export interface Script<Reply, Keys extends readonly string[] = readonly string[], Args extends readonly string[] = readonly string[]> {
  /** `<package><Verb>V<n>`: two versions on one client are two names. */
  readonly name: string
  /** Names of KEYS in their order. `'...more'` at the end stands for any number. */
  readonly keys: Keys
  /** Names of ARGV, likewise. */
  readonly args: Args
  readonly reply: ScriptReply<Reply>
  readonly lua: string
}

/** The values of one call, in the order of the declaration. */
export interface ScriptParameters<Keys extends readonly string[], Args extends readonly string[]> {
  readonly keys: ScriptValues<Keys, string>
  readonly args: ScriptValues<Args, ScriptValue>
}

/** Runs a script on the connection that `run` or `runAll` handed out. */
export type CallScript = <Reply, const Keys extends readonly string[], const Args extends readonly string[]>(
  script: Script<Reply, Keys, Args>, parameters: ScriptParameters<Keys, Args>) => Promise<Reply>

/** Runs commands on the client with the link's limits and typed errors. */
export type Run = <T>(command: (client: RedisClient, call: CallScript) => Promise<T>) => Promise<T>

type AnyScript = Script<unknown>
type Commands = Record<string, (...args: unknown[]) => Promise<unknown>>

/** Every script of the packages that are loaded. */
const declared = new Set<AnyScript>()

/** The type of a script's reply; with `'buffers'` its texts arrive as Buffers. */
export function reply<Reply> (as: 'text' | 'buffers' = 'text'): ScriptReply<Reply> {
  return { as }
}

/** Declares a script. Once per script, at the top of a module: links define what is declared on their clients. */
export function defineScript<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (
  script: Script<Reply, Keys, Args>): Script<Reply, Keys, Args> {
  declared.add(script)
  return Object.freeze(script)
}

/**
 * The scripts of one client. ioredis sends the text once per connection and its digest afterwards, and the text again
 * where the server does not know the digest.
 */
export class Scripts {
  readonly #client: RedisClient
  readonly #defined = new WeakSet<AnyScript>()

  constructor (client: RedisClient) {
    this.#client = client
    // Before the first call, because a pipeline that ioredis has begun by itself knows only what was defined before.
    for (const script of declared) this.#define(script)
  }

  /** A `CallScript` on the client, or on a pipeline of it. */
  on (target: unknown = this.#client): CallScript {
    return (script, { keys, args }) => {
      if (!this.#defined.has(script)) this.#define(script)
      const command = (this.#client as unknown as Commands)[script.reply.as === 'text' ? script.name : `${script.name}Buffer`]!
      const answer = hasRest(script.keys) ? command.call(target, keys.length, ...keys, ...args) : command.call(target, ...keys, ...args)
      return answer as Promise<NonNullable<typeof script.reply.type>>
    }
  }

  #define (script: AnyScript): void {
    const { name, keys, lua } = script
    this.#client.defineCommand(name, hasRest(keys) ? { lua } : { lua, numberOfKeys: keys.length })
    this.#defined.add(script)
  }
}

function hasRest (names: readonly string[]): boolean {
  return names.at(-1)?.startsWith('...') === true
}
