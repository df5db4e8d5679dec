import type { ConfigCache } from '@jpulse/config-cache'
import { Turn } from '@jpulse/plugin-kit'
import { charactersIn, etagOf, type Entry } from './entry.ts'
import type { EntryPage } from './pages.ts'

/** Characters that are kept, and read, in one go. */
const PART = 128 * 1024
/** Of the texts that this process made last. */
const MAX_RECENT = 16 * 1024 * 1024

/** A page as the cache keeps it: long texts are entries of their own, and stand here by their keys. */
interface KeptPage extends EntryPage {
  readonly parts?: { readonly keys: readonly string[], /** Texts of each entry. */ readonly counts: readonly number[] }
}

class Lost extends Error {}

/** A page that is being made anew because a part of it was dropped. */
interface Remake { readonly began: number, readonly page: Promise<EntryPage> }

const ATTEMPTS = 3

/**
 * Keeps long pages in parts: to encode, to send to Redis or to decode one of some megabytes in one go would hold the process
 * for longer than others may wait. A part is named by what it holds, so it is never stale; only the page can be, which has the tags.
 */
export class Parts {
  readonly #cache: ConfigCache
  /** For who waited while another request made a page, and for times at which nothing is kept. */
  readonly #recent = new Map<string, readonly string[]>()
  #characters = 0
  readonly #remakes = new Map<string, Remake>()
  #moments = 0

  constructor (cache: ConfigCache) {
    this.#cache = cache
  }

  async keep (page: EntryPage): Promise<KeptPage> {
    if (page.entries.reduce((sum, entry) => sum + charactersIn(entry), 0) <= PART) return page
    const keys: string[] = []
    const turn = new Turn()
    for (const { key, texts } of partsOf(page.entries)) {
      keys.push(key)
      this.#remember(key, texts)
      await this.#keepPart(key, texts)
      if (turn.isOver) await turn.next()
    }
    return { ...page, entries: page.entries.map((entry) => ({ ...entry, texts: [] })), parts: { keys, counts: page.entries.map(({ texts }) => texts.length) } }
  }

  /** Undefined where a part was dropped: Redis and each process drop what was not read for long when they are full. */
  async whole (page: KeptPage): Promise<EntryPage | undefined> {
    const { parts, entries, ...rest } = page
    if (parts === undefined) return page
    const texts: string[] = []
    const turn = new Turn()
    for (const key of parts.keys) {
      const part = await this.#read(key)
      if (part === undefined) return undefined
      texts.push(...part)
      if (turn.isOver) await turn.next()
    }
    let at = 0
    return {
      ...rest,
      entries: entries.map((entry, n) => {
        const from = at
        at += parts.counts[n]!
        return { ...entry, texts: texts.slice(from, at) }
      })
    }
  }

  /** A moment, to tell what began before from what began after it. */
  moment (): number {
    return ++this.#moments
  }

  /**
   * A page whose part was dropped, made anew once for all who read it. Who joins may see nothing older than its own read:
   * only what began after that read is its answer. What began before may bring back the very parts that it misses.
   */
  async remade (key: string, kept: KeptPage, since: number, make: () => Promise<EntryPage>): Promise<EntryPage> {
    const earlier = this.#remakes.get(key)
    if (earlier !== undefined && earlier.began < since) {
      await earlier.page.catch(() => {})
      const page = await this.whole(kept)
      if (page !== undefined) return page
    }
    const running = this.#remakes.get(key)
    if (running !== undefined && running.began > since) return running.page
    const remake: Remake = {
      began: this.moment(),
      page: make().finally(() => { if (this.#remakes.get(key) === remake) this.#remakes.delete(key) })
    }
    this.#remakes.set(key, remake)
    return remake.page
  }

  /** A load of this part by a reader, who has no texts, may be in flight: who joins it gets its error. Later readers find the part among the recent ones. */
  async #keepPart (key: string, texts: readonly string[]): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        await this.#cache.getOrLoad(key, {}, async () => texts)
        return
      } catch (err) {
        if (!(err instanceof Lost)) throw err
      }
    }
  }

  async #read (key: string): Promise<readonly string[] | undefined> {
    const recent = this.#recent.get(key)
    if (recent !== undefined) return recent
    try {
      return await this.#cache.getOrLoad<readonly string[]>(key, {}, async () => { throw new Lost() })
    } catch (err) {
      if (err instanceof Lost) return undefined
      throw err
    }
  }

  #remember (key: string, texts: readonly string[]): void {
    if (!this.#recent.has(key)) this.#characters += lengthOf(texts)
    this.#recent.set(key, texts)
    for (const [oldest, its] of this.#recent) {
      if (this.#characters <= MAX_RECENT) break
      this.#recent.delete(oldest)
      this.#characters -= lengthOf(its)
    }
  }
}

const lengthOf = (texts: readonly string[]): number => texts.reduce((sum, { length }) => sum + length, 0)

function * partsOf (entries: readonly Entry[]): Generator<{ key: string, texts: string[] }> {
  let [names, texts, characters] = [[] as string[], [] as string[], 0]
  for (const { etag, texts: own } of entries) {
    for (const [n, text] of own.entries()) {
      names.push(`${etag} ${n} ${text.length}`)
      texts.push(text)
      characters += text.length
      if (characters < PART) continue
      yield { key: `part:${etagOf(names.join('\n'))}`, texts }
      ;[names, texts, characters] = [[], [], 0]
    }
  }
  if (texts.length > 0) yield { key: `part:${etagOf(names.join('\n'))}`, texts }
}
