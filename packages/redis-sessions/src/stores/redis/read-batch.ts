/** A session's text and its user's watermark. */
export type Read = readonly [text: string | null, mark: string | null]

interface Waiting {
  readonly resolve: (read: Read) => void
  readonly reject: (err: unknown) => void
}

/** So many reads share a command at most: a large answer would hold up the commands behind it. */
const MOST = 64

/**
 * Reads of one turn of the event loop share a command, since writing to the socket is most of what a read costs
 * (benchmarks/redis-sessions/read.bench.js: 126 µs of CPU per request without, 84 with).
 *
 * A command is sent after the reads that share it began, so a read never sees what was true before it.
 */
export class ReadBatch {
  readonly #mget: (keys: string[]) => Promise<Array<string | null>>
  #keys: string[] = []
  #waiting: Waiting[] = []

  constructor (mget: (keys: string[]) => Promise<Array<string | null>>) {
    this.#mget = mget
  }

  /** Rejects with what the command rejects with. */
  read (session: string, watermark: string): Promise<Read> {
    return new Promise((resolve, reject) => {
      if (this.#keys.push(session, watermark) === 2) setImmediate(this.#send)
      if (this.#waiting.push({ resolve, reject }) === MOST) this.#send()
    })
  }

  readonly #send = (): void => {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    const keys = this.#keys
    this.#waiting = []
    this.#keys = []
    this.#mget(keys).then(
      (values) => { for (const [index, { resolve }] of waiting.entries()) resolve([values[2 * index] ?? null, values[2 * index + 1] ?? null]) },
      (err) => { for (const { reject } of waiting) reject(err) }
    )
  }
}
