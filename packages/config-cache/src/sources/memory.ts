import { globToRegExp, type ConfigDocument, type ConfigSource } from './source.ts'

/** Documents in this process: for one process, and for tests. It says so by `isPrivate`. */
export function memorySource (): ConfigSource {
  return new MemorySource()
}

class MemorySource implements ConfigSource {
  readonly isPrivate = true
  readonly #texts = new Map<string, Map<string, string>>()

  async load (collection: string, key: string): Promise<unknown> {
    const text = this.#texts.get(collection)?.get(key)
    return text === undefined ? null : JSON.parse(text)
  }

  async save (collection: string, key: string, value: unknown): Promise<void> {
    const texts = this.#texts.get(collection) ?? new Map<string, string>()
    this.#texts.set(collection, texts)
    texts.set(key, JSON.stringify(value ?? null))
  }

  async update (collection: string, key: string, change: (current: unknown) => unknown): Promise<boolean> {
    const text = this.#texts.get(collection)?.get(key)
    const next = change(text === undefined ? null : JSON.parse(text))
    await (next === undefined ? this.remove(collection, key) : this.save(collection, key, next))
    return true
  }

  async remove (collection: string, key: string): Promise<boolean> {
    return this.#texts.get(collection)?.delete(key) ?? false
  }

  async list (collection: string, glob: string, limit = 1000): Promise<ConfigDocument[]> {
    const matches = globToRegExp(glob)
    return [...this.#texts.get(collection) ?? []]
      .filter(([key]) => matches.test(key))
      .sort(([a], [b]) => a < b ? -1 : 1)
      .slice(0, limit)
      .map(([key, text]) => ({ key, value: JSON.parse(text) as unknown }))
  }
}
