import { readFileSync } from 'node:fs'

const PAGE = new URL('../../docs/wire.md', import.meta.url)

/** The keys, or the channels, that docs/wire.md lists for a site, as patterns of whole names. */
function listed (heading: string, site: string): RegExp[] {
  const section = new RegExp(`^## ${heading}\\n([^]*?)(?=^## |$(?![^]))`, 'm').exec(readFileSync(PAGE, 'utf8'))?.[1] ?? ''
  const rows = section.split('\n').filter((line) => /^\| `[<{]/.test(line))
  if (rows.length === 0) throw new Error(`docs/wire.md lists no ${heading.toLowerCase()}`)
  return rows.flatMap((row) => [...row.split(' | ', 1)[0]!.matchAll(/`([^`]+)`/g)].map(([, name]) => patternOf(name!.replaceAll('<site>', site))))
}

function patternOf (name: string): RegExp {
  return new RegExp(`^${name.split(/<[^>]+>/).map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.+')}$`, 's')
}

/** Keys and channels of a site that docs/wire.md does not know. */
export function unlisted (site: string, keys: readonly string[], channels: readonly string[]): string[] {
  const [knownKeys, knownChannels] = [listed('Keys', site), listed('Channels', site)]
  return [
    ...keys.filter((key) => !knownKeys.some((pattern) => pattern.test(key))),
    ...channels.filter((channel) => !knownChannels.some((pattern) => pattern.test(channel)))
  ]
}
