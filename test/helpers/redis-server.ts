import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { onPath, redisBinary } from '../../scripts/servers/binaries.js'
import { ADMIN, hasPrintedAcl, startRedis } from '../../scripts/servers/redis.js'
import { temporaryFolder, type Scope } from './scope.ts'

export interface TestRedis {
  port: number
  url: string
  /** Pid of the present server. */
  readonly pid: number
  readonly alive: boolean
  /** A connection of the helper's, made at first use. */
  readonly client: Redis
  /** SIGKILL: nothing is flushed, nobody is told. */
  kill (): Promise<void>
  /** SIGSTOP: connections stay open and silent. */
  freeze (): void
  /** SIGCONT. */
  thaw (): void
  /** Starts it again on its port and folder; with `empty` its data are dropped first, `args` replace the first ones. */
  restart (options?: { empty?: boolean, args?: string[] }): Promise<void>
  /** A connection of the test's own, closed at its end. */
  connect (): Redis
}

export interface RedisServerOptions {
  /** Further arguments of redis-server. @default append-only file with fsync always, so that a kill loses nothing */
  args?: string[]
  /** Whether it has to speak TLS, which not every server was built with. @default false */
  tls?: boolean
}

/** Everything acknowledged survives a kill. */
export const PERSISTENT = ['--appendonly', 'yes', '--appendfsync', 'always']

/** A redis-server of the test's own, for faults; it ends with the test, also where the test crashes. */
export async function redisServer (t: Scope, { args = PERSISTENT, tls = false }: RedisServerOptions = {}): Promise<TestRedis> {
  const binary = tls ? tlsBinary() : serverBinary()
  const dir = temporaryFolder(t)
  let life = 0
  let client: Redis | undefined
  let server = await startRedis({ binary, dir: join(dir, '0'), args })
  const { port, url } = server
  const folder = () => join(dir, String(life))
  t.teardown(() => server.process.stop('SIGKILL'))
  return {
    port,
    url,
    get pid () { return server.process.pid },
    get alive () { return server.process.alive() },
    get client () { return (client ??= connect(t, port)) },
    kill: () => server.process.stop('SIGKILL'),
    freeze: () => server.process.kill('SIGSTOP'),
    thaw: () => server.process.kill('SIGCONT'),
    async restart ({ empty = false, args: others = args } = {}) {
      await server.process.stop('SIGKILL')
      if (empty) life++
      server = await startRedis({ binary, dir: folder(), port, args: others })
    },
    connect: () => connect(t, port)
  }
}

/** The redis-server or valkey-server of this machine, installed first where it is missing. */
export function serverBinary (): string {
  return redisBinary((line) => { process.stderr.write(`· ${line}\n`) })
}

/** Whether the server is older than Redis 7: an ACL has no selectors there, nor does a script's cache tell one run of the server from another. */
export function isBeforeRedis7 (): boolean {
  return /^Redis server v=[0-6]\./.test(spawnSync(serverBinary(), ['--version'], { encoding: 'utf8', timeout: 5000 }).stdout)
}

/** The first of the named servers, and of those on PATH, that was built with TLS: it misses the key of a certificate. */
function tlsBinary (): string {
  const all = [serverBinary(), onPath('redis-server'), onPath('valkey-server')].filter((binary) => binary !== undefined)
  const found = all.find((binary) => {
    const { stdout, stderr } = spawnSync(binary, ['--port', '0', '--tls-port', '1', '--tls-cert-file', '/none'], { encoding: 'utf8', timeout: 5000 })
    return /Failed to configure TLS/.test(stdout + stderr)
  })
  if (found === undefined) throw new Error(`none of ${all.join(', ')} was built with TLS`)
  return found
}

/** A plain connection to a server on loopback that may do everything, closed at the end of the test. */
export function connect (t: Scope, port: number, user = hasPrintedAcl() ? ADMIN : {}): Redis {
  const client = new Redis({ port, host: '127.0.0.1', commandTimeout: 5000, autoResendUnfulfilledCommands: false, ...user })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** The Redis that all tests share (`REDIS_URL`); who uses it takes a key prefix of its own. */
export function sharedRedis (): string {
  const url = process.env.REDIS_URL
  if (url === undefined) throw new Error('REDIS_URL is not set: run the test through `npm test -- FILE`')
  return url
}
