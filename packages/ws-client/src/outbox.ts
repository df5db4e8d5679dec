import type { Environment } from './environment.ts'
import type { Frame } from './handlers.ts'
import type { Payload } from './payload.ts'
import type { Connected } from './types.ts'

/** What became of a message: what the server answered, or an error of this client. */
type Settle = (answer: Pick<Frame, 'data' | 'error'>) => void

interface Entry {
  readonly payload: Payload
  readonly bytes: number
  readonly settle: Settle
  timer?: unknown
  /** When it was sent last. */
  sentAt?: number
  /** Whether it was sent on this connection. */
  isSent?: boolean
}

export interface OutboxOptions {
  /** @default 100 */
  readonly maxMessages?: number | undefined
  /** @default 262144 */
  readonly maxBytes?: number | undefined
  /** Whether a message stays until the server says that it is done, over outages, and not only until the first connection. */
  readonly keeps: boolean
  push (payload: Payload): boolean
}

/** Messages that wait for a connection or for an answer, in order. Each settles once. */
export interface Outbox {
  /**
   * Sends a message, or lets it wait.
   *
   * @param settle called once; not of what is sent and forgotten
   * @param timeoutMs left out where it may wait for ever
   * @returns the code of an error where it did neither
   */
  add (id: string, payload: Payload, settle: Settle, timeoutMs?: number): string | undefined
  settle (id: string, answer: Pick<Frame, 'data' | 'error'>): void
  /**
   * A connection stands.
   *
   * @param limits undefined on a socket of several namespaces, which has none
   * @param onceMs how long the server remembers what it did for this client
   * @param isOther whether the server takes it for another user than before
   */
  begin (limits: Pick<Connected['limits'], 'messages' | 'windowMs'> | undefined, onceMs: number, isOther: boolean): void
  /** The connection broke. */
  lost (): void
  /** There will be none any more. */
  end (message: string): void
}

export function createOutbox ({ maxMessages = 100, maxBytes = 262_144, keeps, push }: OutboxOptions, { now, setTimer, clearTimer }: Environment): Outbox {
  const entries = new Map<string, Entry>()
  let isOnline = false
  /** Whether nothing waits for the first connection any more. */
  let isOver = false
  /** How many were sent within the window of the server's limit, and may be. */
  let sent = 0
  let limit = 0
  let windowMs = 0
  let timer: unknown = null

  const settle: Outbox['settle'] = (id, answer) => {
    const entry = entries.get(id)
    if (!entry) return
    entries.delete(id)
    clearTimer(entry.timer)
    entry.settle(answer)
  }

  const fail = (id: string, code: string, message = code): void => settle(id, { error: { code, message } })

  const pump = (): void => {
    for (const [id, entry] of isOnline ? entries : []) {
      if (entry.isSent) continue
      if (sent >= limit || !push(entry.payload)) break
      sent++
      entry.isSent = true
      entry.sentAt = now()
      if (!keeps && !entry.timer) entries.delete(id)
    }
    if (keeps && isOnline) {
      timer ??= setTimer(() => {
        timer = null
        if (sent) {
          sent = 0
          pump()
        }
      }, windowMs)
    }
  }

  const end = (message?: string): void => {
    isOver = true
    for (const id of entries.keys()) fail(id, 'NOT_CONNECTED', message)
  }

  return {
    settle,
    add (id, payload, settle, timeoutMs) {
      let bytes = new Blob([payload as string]).size
      const entry: Entry = { payload, bytes, settle }
      if (!isOver) {
        for (const entry of entries.values()) bytes += entry.bytes
        if (entries.size >= maxMessages || bytes > maxBytes) return keeps ? 'QUEUE_FULL' : 'NOT_CONNECTED'
      }
      if (timeoutMs !== undefined) entry.timer = setTimer(() => fail(id, 'REQUEST_TIMEOUT'), timeoutMs)
      entries.set(id, entry)
      pump()
      if (entry.isSent || !isOver) return
      entries.delete(id)
      clearTimer(entry.timer)
      return 'NOT_CONNECTED'
    },
    begin (limits, onceMs, isOther) {
      for (const [id, entry] of entries) {
        if (isOther) fail(id, 'USER_CHANGED')
        else if (now() - entry.sentAt! >= onceMs) fail(id, 'OUTCOME_UNKNOWN')
        entry.isSent = false
      }
      isOnline = true
      isOver = !keeps
      // Other messages share the limit.
      limit = keeps && limits ? limits.messages / 2 : Infinity
      windowMs = limits?.windowMs ?? 0
      sent = 0
      pump()
    },
    lost () {
      isOnline = false
      clearTimer(timer)
      timer = null
      // Nothing was sent before the first connection.
      if (isOver) end()
    },
    end
  }
}
