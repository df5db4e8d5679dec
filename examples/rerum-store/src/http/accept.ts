import type { Form } from '../store/identity.ts'

/** Profiles of JSON-LD (RFC 6906), which are the contexts that they stand for. */
export const PROFILES = { annotation: 'http://www.w3.org/ns/anno.jsonld', iiif: 'http://iiif.io/api/presentation/3/context.json' } as const
export type Profile = keyof typeof PROFILES

interface Range { type: string, profiles: string[], weight: number }

const JSON_TYPE = 'application/json; charset=utf-8'
const LD_TYPE = 'application/ld+json; charset=utf-8'

/** The media type of one object. JSON-LD, unless the client takes JSON and says nothing that JSON-LD is among. */
export function typeOf (form: Form, accept: string | undefined): string {
  if (form === 'json' || !takesLinked(accept)) return JSON_TYPE
  return form === 'linked' ? LD_TYPE : `application/ld+json; charset=utf-8; profile="${PROFILES[form]}"`
}

/** The media type of a list. */
export function listTypeOf (accept: string | undefined): string {
  const [json, linked] = [weightOf(accept, 'application/json'), weightOf(accept, 'application/ld+json')]
  return linked > json ? LD_TYPE : JSON_TYPE
}

/** The profile in which a client would rather have a list as an AnnotationPage than as an array; undefined for none. */
export function pageProfileIn (accept: string | undefined): Profile | undefined {
  if (accept === undefined || !accept.includes('profile')) return undefined
  const asked = rangesIn(accept).filter(({ type, weight }) => type === 'application/ld+json' && weight > 0).sort((a, b) => b.weight - a.weight)
  for (const { profiles, weight } of asked) {
    const profile = (Object.keys(PROFILES) as Profile[]).find((one) => profiles.includes(PROFILES[one]))
    if (profile !== undefined && weight >= weightOf(accept, 'application/json')) return profile
  }
  return undefined
}

const takesLinked = (accept: string | undefined): boolean => weightOf(accept, 'application/ld+json') > 0 || weightOf(accept, 'application/json') === 0

/** The weight of a media type by the most exact range that it is in (RFC 9110, section 12.5.1). */
function weightOf (accept: string | undefined, type: string): number {
  if (accept === undefined || accept.trim() === '') return 1
  const ranges = rangesIn(accept)
  for (const wanted of [type, 'application/*', '*/*']) {
    const weights = ranges.filter((range) => range.type === wanted).map(({ weight }) => weight)
    if (weights.length > 0) return Math.max(...weights)
  }
  return 0
}

function rangesIn (accept: string): Range[] {
  return (accept.slice(0, 1000).match(/(?:[^,"]|"[^"]*")+/g) ?? []).map((range) => {
    const [type = '', ...parameters] = (range.match(/(?:[^;"]|"[^"]*")+/g) ?? []).map((part) => part.trim())
    const value = (name: string) => parameters.find((one) => one.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1).replace(/^"|"$/g, '')
    const weight = Number(value('q') ?? 1)
    return { type: type.toLowerCase(), profiles: (value('profile') ?? '').split(/\s+/), weight: Number.isFinite(weight) ? weight : 0 }
  })
}
