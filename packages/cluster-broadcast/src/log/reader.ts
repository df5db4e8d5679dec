import type { RedisLink } from '@jpulse/redis-link'
import { epochsOf, type HighWaterMark, type LogFormat, type LogFrame, type Place } from './format.ts'
import type { Most, Pace } from './pace.ts'
import { fieldsOf, type Reading } from './reading.ts'
import { piece, read } from './scripts.ts'

/** Of which log. */
export interface LogReaderOptions<Frame extends LogFrame, Message> {
  readonly keys: { readonly state: string, readonly log: string }
  readonly format: LogFormat<Frame, Message>
  /** How long its state lives, in milliseconds. */
  readonly stateMs: number
}

/** Reads a log in Redis, in pieces that a slow connection takes. */
export class LogReader<Frame extends LogFrame, Message> {
  readonly #link: RedisLink
  readonly #options: LogReaderOptions<Frame, Message>
  readonly #highWater: HighWaterMark

  constructor (link: RedisLink, options: LogReaderOptions<Frame, Message>, highWater: HighWaterMark) {
    this.#link = link
    this.#options = options
    this.#highWater = highWater
  }

  /** See `EpochLog.read`. */
  async readOn (from: Place | null, frames: number, pace: Pace): Promise<Reading<Frame>> {
    const entries: Array<Reading<Frame>['entries'][number]> = []
    for (;;) {
      try {
        const most = from === null ? 0 : Math.min(frames - entries.length, pace.most.frames)
        const reading = await this.read(entries.at(-1)?.seq ?? from?.seq ?? 0, { frames: most, bytes: pace.most.bytes })
        pace.succeeded()
        if (reading.epoch !== from?.epoch) return { ...reading, entries: [] }
        entries.push(...reading.entries)
        if (reading.entries.length === 0 || entries.at(-1)!.seq >= reading.seq || entries.length >= frames) return { ...reading, entries }
      } catch (err) {
        pace.failed(err)
        throw err
      }
    }
  }

  /** One piece, after a number. @throws as `readOn` */
  async read (after: number, { frames, bytes }: Most): Promise<Reading<Frame>> {
    const { keys: { state, log }, format, stateMs } = this.#options
    const [epochBytes, seqBytes, base, now, head, entries] = await this.#link.runScript(read, {
      keys: [state, log], args: [...epochsOf(format, this.#highWater), after, frames, bytes, stateMs]
    })
    const [epoch, seq] = [String(epochBytes), Number(seqBytes)]
    this.#highWater.said(epoch, seq)
    return {
      epoch,
      seq,
      base: Number(base),
      now: Number(now),
      head: format.readHead(String(head)),
      entries: await Promise.all(entries.map(async ([id, fields]) => {
        const seq = Number.parseInt(String(id))
        const { f, t = '', m = 0, size = 0 } = fieldsOf(fields)
        const frame = f === undefined ? null : format.read(f.length < Number(size) ? await this.#rest(seq, f, Number(size)) : f, String(t))
        return { seq, frame, at: Number(m) }
      }))
    }
  }

  /** The whole of a frame that alone is more than can be read at once. */
  async #rest (seq: number, begin: Buffer, size: number): Promise<Buffer> {
    const pieces = [begin]
    for (let read = begin.length; read < size; read += pieces.at(-1)!.length) {
      const next = await this.#link.runScript(piece, { keys: [this.#options.keys.log], args: [seq, read, begin.length] })
      if (next.length === 0) throw new Error('the entry was trimmed while it was read')
      pieces.push(next)
    }
    return Buffer.concat(pieces)
  }
}
