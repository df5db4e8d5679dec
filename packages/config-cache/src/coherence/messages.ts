import type { Block } from './view.ts'

/**
 * What travels on the bus, as "nonce seq JSON", where the JSON is a list that begins with the kind. The kind is its own version:
 * another meaning gets another letter, and what is added to a kind stands behind what it has.
 */
export type Message =
  | { readonly nonce: string, readonly seq: number, readonly kind: 'block', readonly block: Block }
  | { readonly nonce: string, readonly seq: number, readonly kind: 'release', readonly opId: string }
  | { readonly nonce: string, readonly seq: number, readonly kind: 'clear', readonly space: string }
  /** Of a newer release: it has its place in the order, and that is all that can be said. */
  | { readonly nonce: string, readonly seq: number, readonly kind: 'unknown' }

export const blockText = ({ opId, writer, tags }: Block): string => JSON.stringify(['B', opId, writer, tags])
export const releaseText = (opId: string): string => JSON.stringify(['R', opId])
export const clearText = (space: string): string => JSON.stringify(['C', space])

/** Reads a message of the bus; undefined for what has no place in the order. */
export function parseMessage (bytes: Buffer): Message | undefined {
  const match = /^(\S+) (\d+) (.*)$/s.exec(bytes.toString())
  if (match === null) return undefined
  const [, nonce, seq, json] = match as unknown as [string, string, string, string]
  const head = { nonce, seq: Number(seq) }
  const [kind, id, writer, tags] = listOf(json)
  if (kind === 'B' && isText(id) && isText(writer) && areTexts(tags)) return { ...head, kind: 'block', block: { opId: id, writer, tags } }
  if (kind === 'R' && isText(id)) return { ...head, kind: 'release', opId: id }
  if (kind === 'C' && isText(id)) return { ...head, kind: 'clear', space: id }
  return { ...head, kind: 'unknown' }
}

/** A value as Redis keeps it. Another format has another sign after the generations, and is a miss to who does not know it. */
export const stored = (generations: string, text: string): string => `${generations}|${text}`

/** A block with the beat of its writer, as the renewal returns it. */
export interface ActiveBlock extends Block {
  readonly beat: string
}

/** A block of which nothing is known but that it stands: a newer release wrote it. */
export type UnknownBlock = Pick<ActiveBlock, 'opId' | 'beat'>

/** What stands in Redis beside an opId. */
export const opText = ({ writer, tags }: Block): string => JSON.stringify([writer, tags])

/** Reads [opId, "beat JSON", …]. */
export function parseOps (list: readonly string[]): { blocks: ActiveBlock[], unknown: UnknownBlock[] } {
  const blocks: ActiveBlock[] = []
  const unknown: UnknownBlock[] = []
  for (let i = 0; i + 1 < list.length; i += 2) {
    const opId = list[i]!
    const text = list[i + 1]!
    const space = text.indexOf(' ')
    const beat = text.slice(0, space)
    const [writer, tags] = listOf(text.slice(space + 1))
    if (isText(writer) && areTexts(tags)) blocks.push({ opId, beat, writer, tags })
    else unknown.push({ opId, beat: text })
  }
  return { blocks, unknown }
}

const isText = (value: unknown): value is string => typeof value === 'string'
const areTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)

function listOf (json: string): unknown[] {
  try {
    const list: unknown = JSON.parse(json)
    return Array.isArray(list) ? list : []
  } catch {
    return []
  }
}
