import { connect, type Socket } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { within } from '@jpulse/plugin-kit'
import type { Siblings } from '../formats/index.ts'

const TIMEOUT_MS = 2000
const MOST_BYTES = 32 * 1024 * 1024

/**
 * Counts the siblings that PM2 does not run at the moment: they cannot report themselves.
 *
 * The daemon is asked over its socket, where there is one. PM2's own client would start a daemon where none runs, and
 * hands out whole environments; here only names and states are read.
 */
export class Pm2Siblings {
  readonly #socket: string | null
  readonly #name: string | undefined
  readonly #pauseMs: number
  #askedAt = -Infinity
  #running: Promise<void> | null = null
  #siblings: Siblings = null

  /**
   * @param pauseMs between two questions
   * @param env of a process that PM2 may have started
   */
  constructor (enabled: boolean, pauseMs: number, env: NodeJS.ProcessEnv = process.env) {
    const underPm2 = enabled && env.pm_id !== undefined && env.name !== undefined
    this.#socket = underPm2 ? join(env.PM2_HOME || join(homedir(), '.pm2'), 'rpc.sock') : null
    this.#name = env.name
    this.#pauseMs = pauseMs
  }

  get siblings (): Siblings {
    return this.#siblings
  }

  /** Asks, where the last answer is old enough. */
  async refresh (now = performance.now()): Promise<void> {
    const socket = this.#socket
    if (socket === null || now - this.#askedAt < this.#pauseMs) return
    this.#askedAt = now
    this.#running ??= within(TIMEOUT_MS, askPm2(socket), () => new Error('PM2 did not answer in time'))
      .then((processes) => { this.#siblings = countOf(processes, this.#name) }, () => { this.#siblings = null })
      .finally(() => { this.#running = null })
    await this.#running
  }
}

interface Pm2Process { name?: unknown, pm2_env?: { status?: unknown } }

function countOf (processes: Pm2Process[], name: string | undefined): Siblings {
  const states = processes.filter((one) => one?.name === name).map(({ pm2_env: env }) => env?.status)
  const count = (wanted: string) => states.filter((state) => state === wanted).length
  return { stopped: count('stopped'), errored: count('errored') }
}

/** One call of PM2's RPC. Rejects where no daemon listens: a connection to a socket starts nothing. */
function askPm2 (path: string): Promise<Pm2Process[]> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(path)
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('PM2 did not answer')))
    socket.unref()
    const chunks: Buffer[] = []
    let bytes = 0
    socket.on('connect', () => { socket.write(encode({ type: 'call', method: 'getMonitorData', args: [{}] })) })
    socket.on('data', (chunk) => {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes > MOST_BYTES) return socket.destroy(new Error('the answer of PM2 is too long'))
      try {
        const answer = decode(Buffer.concat(chunks)) as { args?: unknown[] } | null
        if (answer === null) return
        resolve(listOf(answer))
      } catch (err) {
        reject(err instanceof Error ? err : new Error(String(err)))
      }
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('PM2 closed the connection')))
  })
}

function listOf (answer: { args?: unknown[] }): Pm2Process[] {
  const list = answer.args?.find(Array.isArray)
  if (list === undefined) throw new Error('PM2 answered something else')
  return list
}

/** A message of the AMP protocol, version 1: its parts, each with its length; JSON begins with `j:`, text with `s:`. */
function encode (message: unknown): Buffer {
  const parts = [`j:${JSON.stringify(message)}`, 's:cluster-metrics:0'].map((part) => Buffer.from(part))
  return Buffer.concat([Buffer.from([1 << 4 | parts.length]), ...parts.flatMap((part) => [uint32(part.length), part])])
}

/** The first part of a message; null while it is not complete. */
function decode (buffer: Buffer): unknown {
  if (buffer.length < 5 || buffer.length < 5 + buffer.readUInt32BE(1)) return null
  const part = buffer.toString('utf8', 5, 5 + buffer.readUInt32BE(1))
  return JSON.parse(part.slice(2))
}

function uint32 (value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
