import { parse } from './limits.ts'
import { isTotals, TotalsSum, type Totals } from './totals.ts'

const FORMAT = 1
const MOST_SERIES = 5000
/** Ids that are remembered of those that the index has dropped: a process that comes back after that is counted anew. */
const MOST_DROPPED = 1000

/** What instances counted that ended, as one sum, and whose counts are in it. */
export interface Ended {
  /** Of this state: another one at every change. '' where there is none yet. */
  version: string
  /** Boot id → which of its writes was added, -1 where it had none. */
  boots: ReadonlyMap<string, number>
  totals: Totals
  /** Series that had no place of their own: the most of one instance, since most have the same ones. */
  folded: number
}

/** Whether an instance has ended without a word. Those of the release before say none. */
export const isLost = (totals: Totals | null): boolean => totals?.process?.cluster_instances_lost_total !== undefined && totals.left !== true

const NOTHING: Ended = { version: '', boots: new Map(), totals: new TotalsSum().read(), folded: 0 }

/** Reads `<version> <JSON>`. Null where it cannot be read: a newer release wrote it, or somebody else did, so nobody may overwrite it. */
export function readEnded (text: string | null): Ended | null {
  if (text === null) return NOTHING
  const space = text.indexOf(' ')
  const value = parse(text.slice(space + 1)) as { format?: unknown, boots?: unknown, totals?: unknown, folded?: unknown } | null
  if (!/^\d+ /.test(text) || value?.format !== FORMAT || !Array.isArray(value.boots) || !isTotals(value.totals)) return null
  return { version: text.slice(0, space), boots: new Map(value.boots as Array<[string, number]>), totals: value.totals, folded: Number(value.folded ?? 0) || 0 }
}

function write (version: string, boots: ReadonlyMap<string, number>, totals: Totals, folded: number): string {
  return `${Number(version) + 1} ${JSON.stringify({ format: FORMAT, boots: [...boots], totals, ...(folded === 0 ? {} : { folded }) })}`
}

/**
 * The state with the counts of more instances in it. Their totals are null where they wrote none.
 *
 * @param inIndex who is remembered
 * @param lost how many of them are missed. It is not taken back where one is there again: a counter does not fall
 */
export function withEnded ({ version, boots, totals, folded }: Ended, ended: ReadonlyArray<[bootId: string, totals: Totals | null]>, inIndex: ReadonlySet<string>, lost = 0): string {
  const sum = new TotalsSum([totals, { instanceId: '', counters: {}, series: [], process: { cluster_instances_lost_total: lost } }], MOST_SERIES)
  const dropped = [...boots.keys()].filter((bootId) => !inIndex.has(bootId))
  const all = new Map(boots)
  for (const bootId of dropped.slice(0, -MOST_DROPPED)) all.delete(bootId)
  let most = folded
  for (const [bootId, its] of ended) {
    const before = sum.folded
    if (its !== null) sum.add(its)
    most = Math.max(most, sum.folded - before)
    all.set(bootId, its?.seq ?? -1)
  }
  return write(version, all, sum.read(), most)
}

/** The state without the counts of an instance that had not ended after all. */
export function withoutEnded ({ version, boots, totals, folded }: Ended, bootId: string, its: Totals): string {
  const rest = new Map(boots)
  rest.delete(bootId)
  return write(version, rest, new TotalsSum([totals], MOST_SERIES).add(its, -1).read(), folded)
}
