import { setTimeout as sleep } from 'node:timers/promises'
import { History, type Verdict } from '../../../packages/config-cache/test/history.ts'
import { Pin } from './pins.ts'
import { overwriteCount, type Subject } from './subject.ts'

const notes = () => ({ keys: [] as string[], starts: [] as number[], ends: [] as number[], values: [] as number[] })

export interface TrafficOptions {
  readers?: number
  writers?: number
  /** Pause of each after a request, in milliseconds. Without any the clients take the processor from what they ask. @default 0 */
  pauseMs?: number
}

/** Readers and writers on connections of their own, who note what they see. A connection that breaks is opened anew. */
export class Traffic {
  readonly reads = notes()
  /** Writes that were acknowledged. */
  writes = 0
  /** Worker that acknowledged the last of them. */
  lastWriter = ''
  readonly errors: Record<string, number> = {}
  hits = 0
  readonly workers = new Set<string>()
  readonly #ended = new AbortController()
  readonly #address: string
  readonly #subjects: readonly Subject[]
  readonly #pauseMs: number
  readonly #clients: Array<Promise<void>>

  constructor (address: string, subjects: readonly Subject[], { readers = 16, writers = 3, pauseMs = 0 }: TrafficOptions = {}) {
    this.#pauseMs = pauseMs
    this.#address = address
    this.#subjects = subjects
    this.#clients = [
      ...Array.from({ length: readers }, () => this.#client((pin) => this.#read(pin))),
      ...Array.from({ length: writers }, () => this.#client((pin) => this.#write(pin)))
    ]
  }

  /** What they saw, judged: each object must have behaved as one register, whichever read showed it. */
  async stop (): Promise<Verdict> {
    this.#ended.abort()
    await Promise.all(this.#clients)
    const history = new History().add({ reads: this.reads, writes: notes(), errors: {} })
    // What was written before this traffic counts as well.
    for (const { id, attempts, acknowledged } of this.#subjects) {
      const [keys, times] = [acknowledged.map(() => id), acknowledged.map(({ time }) => time)]
      history.add({ reads: notes(), writes: { keys, starts: times, ends: times, values: acknowledged.map(({ value }) => value) }, errors: {} })
      history.commits({ keys: attempts.map(() => id), versions: attempts.map(({ value }) => value), times: attempts.map(({ time }) => time) })
    }
    return { ...history.check(), writes: this.writes }
  }

  async #client (work: (pin: Pin) => Promise<void>): Promise<void> {
    let pin: Pin | undefined
    while (!this.#ended.signal.aborted) {
      try {
        if (pin === undefined || pin.closed) pin = await Pin.open(this.#address, 20_000)
        this.workers.add(pin.worker)
        await work(pin)
        if (this.#pauseMs > 0) await sleep(this.#pauseMs)
      } catch (err) {
        this.#note((err as NodeJS.ErrnoException).code ?? 'no answer')
        await sleep(20)
      }
    }
    pin?.close()
  }

  async #read (pin: Pin): Promise<void> {
    const subject = pick(this.#subjects)
    const read = pick(Object.values(subject.reads))
    const answer = await pin.ask(read.ask, 20_000)
    if (answer.status !== 200) return this.#refused(answer.json?.code)
    if (answer.headers['x-cache'] === 'HIT') this.hits++
    add(this.reads, subject.id, answer, read.count(answer))
  }

  /** Adds one to what it finds, unless somebody else did. So values grow in the order in which they are written. */
  async #write (pin: Pin): Promise<void> {
    const subject = pick(this.#subjects)
    const known = await pin.ask(subject.reads.id!.ask, 20_000)
    if (known.status !== 200) return this.#refused(known.json?.code)
    const count = known.json.count + 1
    const answer = await overwriteCount(pin, subject, count, known.json.__rerum.isOverwritten)
    // Elsewhere a write may be taken: all writers may be with the one worker that is cut off.
    if (answer.status === 503) pin.close()
    if (answer.status !== 200) return this.#refused(answer.json?.code)
    this.writes++
    this.lastWriter = pin.worker
  }

  async #refused (code: string): Promise<void> {
    this.#note(code)
    if (code !== 'FST_ERR_RERUM_VERSION') await sleep(20)
  }

  #note (code: string): void {
    this.errors[code] = (this.errors[code] ?? 0) + 1
  }
}

function add (to: ReturnType<typeof notes>, key: string, { start, end }: { start: number, end: number }, value: number): void {
  to.keys.push(key)
  to.starts.push(start)
  to.ends.push(end)
  to.values.push(value)
}

function pick<T> (list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)]!
}
