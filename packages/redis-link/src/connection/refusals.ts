import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'

/** Replies of a server that cannot serve us now. */
const REFUSALS = /^(LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|NOREPLICAS|MISCONF|OOM|BUSY|TRYAGAIN|NOAUTH|WRONGPASS|UNKILLABLE)\b/

/** How a Redis before 7 tells of a command that was refused inside a script. */
const IN_SCRIPT = /^ERR Error running script \([^)]*\): (@user_script: ?\d+: )+-?/

/** Classes of ioredis 6 and its redis-errors, without the replies. */
const CLASSES = new Set(['RedisError', 'AbortError', 'MaxRetriesPerRequestError', 'ClusterAllFailedError', 'ParserError', 'InterruptError'])

/** What ioredis 6 says of a connection with plain errors. Its others, such as "Connection in subscriber mode", are faults of the caller. */
const CONNECTION = new RegExp('^(' + [
  'Connection is closed\\.', 'Command timed out$', 'Socket timeout\\.',
  'Stream isn\'t writeable and enableOfflineQueue', 'Cluster isn\'t ready and enableOfflineQueue',
  'None of startup nodes is available', 'Too many Cluster redirections\\.', 'Cluster is disconnect(ed|ing)\\.', 'Node is disconnected',
  'No master node is available', 'All sentinels are unreachable',
  'Unknown RESP type \\d+', 'Command queue state error\\.'
].join('|') + ')')

const SOCKET = /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|EPROTO|ETIMEDOUT|EHOST(UNREACH|DOWN)|ENET(UNREACH|DOWN|RESET)|EADDRNOTAVAIL|ENOTFOUND|EAI_[A-Z]+)$/

const OURS = new Set<unknown>(['FST_ERR_REDIS_LINK_TIMEOUT', 'FST_ERR_REDIS_LINK_UNAVAILABLE'])

/**
 * Whether an error says that Redis could not serve us now, in contrast to one that says that the command was wrong, and
 * to one that is not of Redis at all: the caller's own code runs among the commands. So what is an outage is listed, by
 * name and text, because an injected client may come from another copy of ioredis.
 */
export function isOutage (error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, name, message } = error as NodeJS.ErrnoException
  if (isReply(error)) return REFUSALS.test(replyOf(message))
  // The AbortError of an AbortSignal has a code.
  return OURS.has(code) || SOCKET.test(String(code)) || (code === undefined && (CLASSES.has(name) || CONNECTION.test(message)))
}

/** Whether the server answered at all, if only with an error. */
export function isReply (error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/** Whether a primary says that it is a replica now. */
export function isReadOnlyReply (error: Error): boolean {
  return replyOf(error.message).startsWith('READONLY')
}

function replyOf (message: string): string {
  return message.replace(IN_SCRIPT, '')
}

/** What lets a server that answers take commands again. */
const CURES: Readonly<Record<string, string>> = {
  OOM: 'raise maxmemory, or let it evict (maxmemory-policy volatile-ttl)',
  MISCONF: 'it cannot write to its disk: see its log, and the space that is left',
  NOREPLICAS: 'min-replicas-to-write asks for more replicas than there are: bring them back, or lower it',
  READONLY: 'it is a replica: where that does not pass with a failover, give the address of the primary',
  MASTERDOWN: 'it is a replica without its primary, and replica-serve-stale-data is off',
  MOVED: 'it is a node of a Redis Cluster: give its nodes as the option cluster',
  CLUSTERDOWN: 'some slots have no primary: see CLUSTER INFO',
  BUSY: 'a script runs for too long: see SLOWLOG'
}

/**
 * Tells what a server refuses that is up. Much of what is refused has another way, in the process, so that without this nobody
 * would know.
 */
export class RefusalLog {
  readonly #log: FastifyBaseLogger
  readonly #throttle = new LogThrottle()

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  note (error: unknown): void {
    if (!isReply(error)) return
    const text = replyOf(error.message)
    const word = text.split(' ', 1)[0]!
    const cure = CURES[word]
    if (cure === undefined) return
    const left = this.#throttle.pass(word)
    if (left !== null) this.#log.warn({ err: error, ...(left > 0 && { suppressed: left }) }, `Redis is up and refuses commands (${text}): ${cure}`)
  }
}
