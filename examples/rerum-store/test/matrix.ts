import { idOf } from './helper.ts'
import type { Ask } from './pins.ts'

/** Makes a write: method, path under /v1/api, body, headers. Returns what the API answered. */
export type Send = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<any>
type Object_ = { '@id': string }

/** The versions r -> x -> a -> aa, r -> s, and an object u that has nothing to do with them. */
const NAMES = ['r', 'x', 'a', 'aa', 's', 'u'] as const
export type Family = Record<typeof NAMES[number], Object_>

/** Families are told apart by a tag that is in every mark. */
export async function makeFamily (send: Send, tag: string): Promise<Family> {
  const content = (name: string) => ({ kind: `kind-${tag}`, mark: `mark-${name}-${tag}`, text: `word${name}${tag}`, extra: 1 })
  const from = (parent: Object_, name: string) => send('PUT', '/update', { '@id': parent['@id'], ...content(name) })
  const r = await send('POST', '/create', content('r'))
  const x = await from(r, 'x')
  const a = await from(x, 'a')
  return { r, x, a, aa: await from(a, 'aa'), s: await from(r, 's'), u: await send('POST', '/create', content('u')) }
}

/** Every read of the family, by a short name. `new` is what the write makes, found by its slug and its mark. */
export function readsOf (family: Family, tag: string): Map<string, Ask> {
  const query = (body: unknown): Ask => ({ method: 'POST', path: '/v1/api/query', body })
  const reads = new Map<string, Ask>([
    ['q:kind', query({ kind: `kind-${tag}` })],
    ['q:leaves', query({ kind: `kind-${tag}`, '__rerum.history.next': { $size: 0 } })],
    ['q:dead', query({ '__deleted.object.kind': `kind-${tag}` })],
    ['q:other', query({ kind: 'of nobody' })]
  ])
  for (const name of [...NAMES, 'new'] as const) {
    const id = name === 'new' ? `slug-${tag}` : idOf(family[name])
    for (const kind of ['id', 'history', 'since']) reads.set(`${kind}:${name}`, { path: `/v1/${kind}/${id}` })
    reads.set(`q:${name}`, query({ mark: `mark-${name}-${tag}` }))
    reads.set(`s:${name}`, { method: 'POST', path: '/v1/api/search', body: `word${name}${tag}` })
  }
  return reads
}

export interface Write {
  name: string
  /** Begins with a family of its own; else it goes on with what the writes before left. */
  fresh?: true
  run: (send: Send, family: Family, tag: string) => Promise<unknown>
  /** Reads that may change, by the contract's table. */
  changes: string[]
}

const over = (kind: string, names: string): string[] => names.split(' ').map((name) => `${kind}:${name}`)
const all = (names: string): string[] => ['id', 'history', 'since', 'q', 's'].flatMap((kind) => over(kind, names))
const found = (names: string): string[] => [...over('q', names), ...over('s', names)]
/** A version made from x: x and the new one in `id`; D(x) in `history`; x and A(x) in `since`. */
const VERSION = [...over('id', 'x new'), ...over('history', 'a aa new'), ...over('since', 'x r new'), ...found('x new'), ...over('q', 'kind leaves')]
const NEW = (tag: string) => ({ kind: `kind-${tag}`, mark: `mark-new-${tag}`, text: `wordnew${tag}` })

export const WRITES: Write[] = [
  { name: 'patch that changes nothing', fresh: true, run: (send, { x }) => send('PATCH', '/patch', { '@id': x['@id'], extra: 1 }), changes: [] },
  { name: 'set that changes nothing', run: (send, { x }) => send('PATCH', '/set', { '@id': x['@id'], extra: 2 }), changes: [] },
  { name: 'unset that changes nothing', run: (send, { x }) => send('PATCH', '/unset', { '@id': x['@id'], more: null }), changes: [] },
  { name: 'create', run: (send, _f, tag) => send('POST', '/create', NEW(tag), { slug: `slug-${tag}` }), changes: [...all('new'), ...over('q', 'kind leaves')] },
  { name: 'import', run: (send, _f, tag) => send('PUT', '/update', { '@id': `https://elsewhere.org/${tag}`, ...NEW(tag) }), changes: [...all('new'), ...over('q', 'kind leaves')] },
  { name: 'bulkCreate', run: (send, _f, tag) => send('POST', '/bulkCreate', [NEW(tag), NEW(tag)]), changes: [...all('new'), ...over('q', 'kind leaves')] },
  { name: 'update', run: (send, { x }, tag) => send('PUT', '/update', { '@id': x['@id'], ...NEW(tag) }), changes: VERSION },
  { name: 'bulkUpdate', run: (send, { x }, tag) => send('PUT', '/bulkUpdate', [{ '@id': x['@id'], ...NEW(tag) }]), changes: VERSION },
  { name: 'patch', run: (send, { x }, tag) => send('PATCH', '/patch', { '@id': x['@id'], mark: `mark-new-${tag}`, text: `wordnew${tag}` }), changes: VERSION },
  { name: 'set', run: (send, { x }, tag) => send('PATCH', '/set', { '@id': x['@id'], more: `wordnew${tag}` }), changes: VERSION },
  { name: 'unset', run: (send, { x }) => send('PATCH', '/unset', { '@id': x['@id'], extra: null }), changes: VERSION },
  {
    name: 'overwrite',
    run: (send, { x }, tag) => send('PUT', '/overwrite', { '@id': x['@id'], ...NEW(tag) }),
    changes: ['id:x', ...over('history', 'a aa'), 'since:r', ...found('x new'), 'q:kind']
  },
  {
    name: 'release',
    fresh: true,
    run: (send, { x }, tag) => send('PATCH', `/release/${idOf(x)}`, undefined, { slug: `slug-${tag}` }),
    changes: [...over('id', 'x r a aa new'), ...over('history', 'r x a aa s new'), ...over('since', 'r x a aa s new'), ...found('x r a aa'), ...over('q', 'kind leaves')]
  },
  {
    name: 'delete of a version',
    fresh: true,
    run: (send, { x }) => send('DELETE', `/delete/${idOf(x)}`),
    changes: [...over('id', 'x r a'), ...over('history', 'x a aa s'), ...over('since', 'x r'), ...found('x r a'), ...over('q', 'kind leaves dead')]
  },
  {
    name: 'delete of the root',
    run: (send, { r }) => send('DELETE', `/delete/${idOf(r)}`),
    changes: [...all('r x a aa s'), ...over('q', 'kind leaves dead')]
  }
]
