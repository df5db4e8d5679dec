import { inTurns, TotalsSum, type AttributeNames, type EverybodysTotals, type Report } from '../formats/index.ts'
import type { Local } from '../instance/index.ts'
import { apart, customGauges, familyOf, growing, registryGauges } from './application.ts'
import { healthFamilies, instanceFamilies, ownFamilies } from './families.ts'
import { exposition, type Format, type Sample, type TextFamily } from './text.ts'

export interface ScrapeOptions {
  format: Format
  attributeNames: AttributeNames
}

/** This instance, with the application's own metrics as they are now. */
export async function instanceText (local: Local, { format, attributeNames }: ScrapeOptions): Promise<string> {
  const { collected, leftOut } = await local.collectRegistry()
  const report = { ...local.report(), leftOut: { name: leftOut } }
  const totals = { ...local.totals(), families: local.customFamilies() }
  const quantiles = (name: string): Sample[] => (collected.quantiles.get(name) ?? []).map(([labels, value]) => ['', labels, value])
  return exposition([
    ...ownFamilies([report], totals, attributeNames),
    ...healthFamilies([report], false),
    ...growing(totals),
    ...customGauges([report]),
    ...collected.grows.map((family): TextFamily => {
      const text = familyOf(family)
      return { ...text, samples: [...quantiles(family.name), ...text.samples] }
    }),
    ...collected.gauges.map(({ name, help, samples }): TextFamily => ({ name, help, type: 'gauge', samples: samples.map(([labels, value]) => ['', labels, value]) }))
  ], format, collected.exemplars)
}

/** All instances: the living, and what only grows of all that ever reported. Of a name that has become another kind the living's is shown. */
export async function clusterText (reports: readonly Report[], { living, ended }: EverybodysTotals, { format, attributeNames }: ScrapeOptions): Promise<string> {
  const sum = new TotalsSum()
  await inTurns(ended === null ? living : [...living, ended], (part) => { sum.add(part) })
  const totals = sum.read()
  const { current, former } = apart(growing(totals), living)
  return exposition([...instanceFamilies(reports), ...ownFamilies(reports, totals, attributeNames), ...current, ...customGauges(reports), ...registryGauges(reports), ...former], format)
}
