/** Operations of one kind, by column. */
interface Notes { keys: string[], starts: number[], ends: number[], values: number[] }

/** What a database wrote, by column. */
export interface Commits { keys: string[], versions: number[], times: number[] }

/** What one process noted. */
export interface Noted { reads: Notes, writes: Notes, errors: Record<string, number> }

export interface Verdict {
  reads: number
  writes: number
  /** Different values that were read, over all keys. */
  values: number
  /** Reads older than a write that had resolved before they began (G1). */
  stale: number
  /** Reads older than a read that had ended before they began (G2). */
  backwards: number
  /** Reads of what was not yet written. */
  early: number
  /** The first of each, in words. */
  examples: string[]
}

interface Event { time: number, value: number }
interface Read { start: number, end: number, value: number }

/**
 * Checks that every key behaved like one register: a read returns at least the newest write that resolved before it began
 * and the newest value that a read returned before it began, and at most the newest value written before it ended. All
 * times are of one clock.
 */
export class History {
  readonly #reads = new Map<string, Read[]>()
  readonly #acked = new Map<string, Event[]>()
  readonly #commits = new Map<string, Event[]>()
  #writes = 0

  add ({ reads, writes }: Noted): this {
    reads.keys.forEach((key, i) => of(this.#reads, key).push({ start: reads.starts[i]!, end: reads.ends[i]!, value: reads.values[i]! }))
    writes.keys.forEach((key, i) => of(this.#acked, key).push({ time: writes.ends[i]!, value: writes.values[i]! }))
    this.#writes += writes.keys.length
    return this
  }

  commits ({ keys, versions, times }: Commits): this {
    keys.forEach((key, i) => of(this.#commits, key).push({ time: times[i]!, value: versions[i]! }))
    return this
  }

  check (): Verdict {
    const verdict: Verdict = { reads: 0, writes: this.#writes, values: 0, stale: 0, backwards: 0, early: 0, examples: [] }
    for (const [key, reads] of this.#reads) this.#checkKey(key, reads, verdict)
    return verdict
  }

  /** Checks, and forgets all but the newest write of each key, so that a long run fits into memory. */
  settle (): Verdict {
    const verdict = this.check()
    for (const events of [this.#acked, this.#commits]) {
      for (const [key, list] of events) events.set(key, [list.reduce((newest, one) => one.value > newest.value ? one : newest)])
    }
    this.#reads.clear()
    this.#writes = 0
    return verdict
  }

  #checkKey (key: string, reads: Read[], verdict: Verdict): void {
    const acked = newestUntil(this.#acked.get(key) ?? [])
    const read = newestUntil(reads.map(({ end, value }) => ({ time: end, value })))
    const committed = newestUntil(this.#commits.get(key) ?? [])
    const fault = (kind: 'stale' | 'backwards' | 'early', { start, end, value }: Read, bound: number) => {
      verdict[kind]++
      if (verdict.examples.length < 10) verdict.examples.push(`${kind}: ${key} read ${value}, bound ${bound}, from ${start.toFixed(2)} to ${end.toFixed(2)}`)
    }
    verdict.values += new Set(reads.map(({ value }) => value)).size
    for (const one of reads) {
      verdict.reads++
      const resolved = acked(one.start)
      const known = read(one.start)
      if (one.value < resolved) fault('stale', one, resolved)
      else if (one.value < known) fault('backwards', one, known)
      if (one.value > committed(one.end)) fault('early', one, committed(one.end))
    }
  }
}

function of<T> (map: Map<string, T[]>, key: string): T[] {
  const list = map.get(key) ?? []
  map.set(key, list)
  return list
}

/** The greatest value of all events before a time, 0 without any. */
function newestUntil (events: Event[]): (time: number) => number {
  const sorted = [...events].sort((a, b) => a.time - b.time)
  let newest = 0
  const newestAt = sorted.map(({ value }) => { newest = Math.max(newest, value); return newest })
  return (time) => {
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (sorted[middle]!.time < time) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : newestAt[low - 1]!
  }
}
