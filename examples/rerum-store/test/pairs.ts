import { overwriteCount, type Subject } from './subject.ts'
import type { Pin } from './pins.ts'
import { warm } from './store-cluster.ts'

export interface Pairs {
  /** Samples of each pair of a writing and a reading worker. */
  samples: Map<string, number>
  stale: string[]
  reads: number
  /** Reads before each write that came from the cache: all of them, or there would be no race to lose. */
  warmed: number
}

/**
 * The race of plan 004: everything is warmed in every worker; one worker writes; at once every worker is asked for all that
 * shows it. Each worker writes in turn, and the counter only grows.
 */
export async function racePairs (pins: Map<string, Pin[]>, subject: Subject, rounds: number): Promise<Pairs> {
  const pairs: Pairs = { samples: new Map(), stale: [], reads: 0, warmed: 0 }
  const kinds = Object.entries(subject.reads)
  const readers = [...pins].flatMap(([worker, own]) => kinds.map(([kind, read], i) => ({ worker, kind, read, pin: own[i % own.length]! })))
  let count = 0
  for (let round = 0; round < rounds; round++) {
    for (const [writer, [pin]] of pins) {
      pairs.warmed += (await Promise.all(readers.map(({ pin, read }) => warm(pin, read.ask)))).length
      const { status, text } = await overwriteCount(pin!, subject, ++count)
      if (status !== 200) throw new Error(`${status} ${text}`)
      await Promise.all(readers.map(async ({ worker, kind, read, pin }) => {
        const seen = read.count(await pin.ask(read.ask))
        pairs.reads++
        pairs.samples.set(`${writer} > ${worker}`, (pairs.samples.get(`${writer} > ${worker}`) ?? 0) + 1)
        if (seen !== count) pairs.stale.push(`${kind}: ${writer} wrote ${count}, ${worker} answered ${seen}`)
      }))
    }
  }
  return pairs
}
