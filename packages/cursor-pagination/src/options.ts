import { randomBytes } from 'node:crypto'
import { checker, isOneOfSeveral } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { InvalidOptionsError, NoSecretError } from './errors.ts'

/** Options of the plugin. */
export interface FastifyCursorPaginationOptions {
  /**
   * Signs and encrypts cursors; every process that answers for one site needs the same. With an array the first one is
   * used for new cursors and each one for those that come back. To rotate, deploy `[old, new]`, then `[new, old]`, then
   * `[new]`: while one deploy is rolling, both kinds of processes know the secret of every cursor.
   * Required where NODE_ENV is production, with 32 characters or more, and where the process has siblings: in a worker of
   * a cluster, and under PM2 with several instances.
   *
   * @default elsewhere a random one per process, so that cursors end with it
   */
  secret?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** Rows on a page where the call names no limit. @default 50 */
  defaultLimit?: number | undefined
  /** The most rows on a page. @default 1000 */
  maxLimit?: number | undefined
  /** Refuse a limit above the maximum with 400 instead of lowering it to the maximum. @default false */
  strictLimit?: boolean | undefined
  /** The most rows that offset mode may skip; an offset above is refused with 400. 0 allows the first page only. @default 10000 */
  maxOffset?: number | undefined
  /** Where `total: 'capped'`, and `'estimated'` beside a filter, stop counting. @default 10000 */
  totalCap?: number | undefined
  /**
   * Lifetime of a cursor in milliseconds; with it, cursors that were given without one are refused too.
   *
   * @default undefined: cursors do not expire
   */
  cursorTtlMs?: number | undefined
  /**
   * The longest cursor in characters, 512 or more. Sort values that are too long for it are left out: the cursor then says
   * where to find them. Two cursors of the default in a `Link` header fit into the 4 KiB that proxies take. @default 1792
   */
  maxCursorLength?: number | undefined
  /**
   * A development aid: ask the server for the plan of each shape of query once, and log a warning with the index to
   * create where it scans the collection or sorts in memory. A call can override it. @default false
   */
  explain?: boolean | undefined
}

/** The same, complete. */
export interface ResolvedOptions {
  readonly secrets: ReadonlyArray<string | Uint8Array>
  /** No secret was given: cursors end with this process. */
  readonly ephemeral: boolean
  readonly defaultLimit: number
  readonly maxLimit: number
  readonly strictLimit: boolean
  readonly maxOffset: number
  readonly totalCap: number
  readonly cursorTtlMs: number | undefined
  readonly maxCursorLength: number
  readonly explain: boolean
}

const Count = (minimum: number) => Type.Optional(Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER }))

const check = checker(Type.Object({
  secret: Type.Optional(Type.Unknown()),
  defaultLimit: Count(1),
  maxLimit: Count(1),
  strictLimit: Type.Optional(Type.Boolean()),
  maxOffset: Count(0),
  totalCap: Count(1),
  cursorTtlMs: Count(1),
  maxCursorLength: Count(512),
  explain: Type.Optional(Type.Boolean())
}, { additionalProperties: false }), (option, problem) => new InvalidOptionsError(`"${option}" ${problem}`))

/**
 * Checks the options and fills in the defaults.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS, FST_ERR_CURSOR_PAGINATION_NO_SECRET
 */
export function resolveOptions (options: FastifyCursorPaginationOptions, env = process.env): ResolvedOptions {
  const given = check(options)
  const { secret, maxLimit = 1000, defaultLimit = Math.min(50, maxLimit), cursorTtlMs } = given
  if (defaultLimit > maxLimit) throw new InvalidOptionsError(`defaultLimit ${defaultLimit} is above maxLimit ${maxLimit}`)
  const secrets = resolveSecrets(secret, env)
  return Object.freeze({
    secrets: secrets ?? [randomBytes(32)],
    ephemeral: secrets === undefined,
    defaultLimit,
    maxLimit,
    strictLimit: given.strictLimit ?? false,
    maxOffset: given.maxOffset ?? 10_000,
    totalCap: given.totalCap ?? 10_000,
    cursorTtlMs,
    maxCursorLength: given.maxCursorLength ?? 1792,
    explain: given.explain ?? false
  })
}

function resolveSecrets (secret: unknown, env: NodeJS.ProcessEnv): Array<string | Uint8Array> | undefined {
  const production = env['NODE_ENV'] === 'production'
  if (secret === undefined) {
    if (production) throw new NoSecretError('the option secret is required where NODE_ENV is production')
    if (isOneOfSeveral(env)) throw new NoSecretError('the option secret is required where several processes answer for one site, for each would refuse the cursors of the others')
    return undefined
  }
  const secrets: unknown[] = Array.isArray(secret) ? secret : [secret]
  if (secrets.length === 0) throw new NoSecretError('the option secret is an empty list')
  for (const one of secrets) {
    if (!(typeof one === 'string' || one instanceof Uint8Array) || one.length === 0) throw new NoSecretError('a secret must be a string or bytes, and not empty')
    if (production && one.length < 32) throw new NoSecretError('where NODE_ENV is production, a secret needs 32 characters or more')
  }
  return secrets.map((one) => typeof one === 'string' ? one : Uint8Array.from(one as Uint8Array))
}
