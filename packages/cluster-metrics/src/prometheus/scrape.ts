import { inTurns, oldestFirst, TotalsSum, type AttributeNames, type EverybodysTotals, type Family, type Report } from '../formats/index.ts'
import type { Local } from '../instance/index.ts'
import { apart, customGauges, familyOf, growing, latestExemplars, registryGauges } from './application.ts'
import { bucketsInUse, hiddenSeries } from './buckets.ts'
import { healthFamilies, instanceCounters, instanceFamilies, ownFamilies } from './families.ts'
import { exposition, type Format, type Sample, type TextFamily } from './text.ts'

export interface ScrapeOptions {
  format: Format
  attributeNames: AttributeNames
}

/** This instance, with the application's own metrics as they are now. */
export async function instanceText (local: Local, { format, attributeNames }: ScrapeOptions): Promise<string> {
  const { collected, leftOut } = await local.collectRegistry()
  const report = { ...local.report(), leftOut: { name: leftOut } }
  const { process = {}, ...rest } = local.totals()
  const totals = { ...rest, process: ofItself(process), families: local.customFamilies() }
  const quantiles = (name: string): Sample[] => (collected.quantiles.get(name) ?? []).map(([labels, value]) => ['', labels, value])
  return exposition([
    ...ownFamilies([report], totals, attributeNames),
    ...healthFamilies([report], false),
    ...growing(totals).map(familyOf),
    ...customGauges([report]),
    ...collected.grows.map((family): TextFamily => {
      const text = familyOf(family)
      return { ...text, samples: [...quantiles(family.name), ...text.samples] }
    }),
    ...collected.gauges.map(({ name, help, samples }): TextFamily => ({ name, help, type: 'gauge', samples: samples.map(([labels, value]) => ['', labels, value]) }))
  ], format, collected.exemplars)
}

/** Without the counters that are about the cluster. */
const ofItself = (process: Record<string, number>): Record<string, number> => Object.fromEntries(Object.entries(process).filter(([name]) => !name.startsWith('cluster_')))

const exportedFamily = (family: Family): TextFamily => ({ ...familyOf(family), isExported: true })

/** All instances: the living, and what only grows of all that ever reported. Of a name that has become another kind the living's is shown. */
export async function clusterText (given: readonly Report[], { living, ended, folded }: EverybodysTotals, { format, attributeNames }: ScrapeOptions): Promise<string> {
  const reports = given.toSorted(oldestFirst)
  const sum = new TotalsSum()
  await inTurns(ended === null ? living : [...living, ended], (part) => { sum.add(part) })
  const totals = sum.read()
  const buckets = bucketsInUse(totals.families ?? [], living)
  const families = growing(totals, buckets)
  const { current, former } = apart(families, living)
  return exposition([
    ...instanceFamilies(reports),
    ...instanceCounters(living),
    ...ownFamilies(reports, totals, attributeNames, { buckets: hiddenSeries(families, buckets), ended: folded }),
    ...current.map(exportedFamily),
    ...customGauges(reports),
    ...registryGauges(reports),
    ...former.map(exportedFamily)
  ], format, format === 'openmetrics' ? latestExemplars(reports) : undefined)
}
