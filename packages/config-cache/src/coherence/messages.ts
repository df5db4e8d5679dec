import type { Block } from './view.ts'

/** What travels on the bus. */
export type Message =
  | { readonly nonce: string, readonly seq: number, readonly kind: 'block', readonly block: Block }
  | { readonly nonce: string, readonly seq: number, readonly kind: 'release', readonly opId: string }
  | { readonly nonce: string, readonly seq: number, readonly kind: 'clear', readonly space: string }

export const blockText = ({ opId, writer, tags }: Block): string => JSON.stringify(['B', opId, writer, tags])
export const releaseText = (opId: string): string => JSON.stringify(['R', opId])
export const clearText = (space: string): string => JSON.stringify(['C', space])

/** Reads "nonce seq JSON"; undefined for what is not ours. */
export function parseMessage (bytes: Buffer): Message | undefined {
  const match = /^(\S+) (\d+) (\[.*)$/s.exec(bytes.toString())
  if (match === null) return undefined
  const [, nonce, seq, json] = match as unknown as [string, string, string, string]
  try {
    const [kind, id, writer, tags] = JSON.parse(json) as [string, string, string, string[]]
    const head = { nonce, seq: Number(seq) }
    if (kind === 'B') return { ...head, kind: 'block', block: { opId: id, writer, tags } }
    if (kind === 'R') return { ...head, kind: 'release', opId: id }
    return { ...head, kind: 'clear', space: id }
  } catch {
    return undefined
  }
}

/** A value as Redis keeps it. */
export const stored = (generations: string, text: string): string => `${generations}|${text}`

/** A block with the beat of its writer, as the renewal returns it. */
export interface ActiveBlock extends Block {
  readonly beat: string
}

/** What stands in Redis beside an opId. */
export const opText = ({ writer, tags }: Block): string => JSON.stringify([writer, tags])

/** Reads [opId, "beat JSON", …]. */
export function parseOps (list: readonly string[]): ActiveBlock[] {
  const blocks: ActiveBlock[] = []
  for (let i = 0; i + 1 < list.length; i += 2) {
    const text = list[i + 1]!
    const space = text.indexOf(' ')
    const [writer, tags] = JSON.parse(text.slice(space + 1)) as [string, string[]]
    blocks.push({ opId: list[i]!, beat: text.slice(0, space), writer, tags })
  }
  return blocks
}
