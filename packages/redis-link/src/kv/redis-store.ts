import { FST_ERR_REDIS_LINK_NOT_A_COUNTER } from '../errors.ts'
import type { Run } from '../script/script.ts'
import { increment } from '../script/scripts.ts'
import type { KvStore } from './store.ts'

/** Keeps the texts as Redis strings. */
export class RedisKvStore implements KvStore {
  readonly #run: Run

  constructor (run: Run) {
    this.#run = run
  }

  async get (key: string): Promise<string | null> {
    return this.#run((client) => client.get(key))
  }

  async set (key: string, json: string, ttlMs: number): Promise<void> {
    await this.#run((client) => ttlMs === 0 ? client.set(key, json) : client.set(key, json, 'PX', ttlMs))
  }

  async del (key: string): Promise<boolean> {
    return await this.#run((client) => client.del(key)) === 1
  }

  async exists (key: string): Promise<boolean> {
    return await this.#run((client) => client.exists(key)) === 1
  }

  async increment (key: string, by: number, ttlMs: number): Promise<number> {
    try {
      return await this.#run((_client, call) => call(increment, { keys: [key], args: [by, ttlMs] }))
    } catch (err) {
      if (/not an integer|overflow|WRONGTYPE/.test((err as Error).message)) throw new FST_ERR_REDIS_LINK_NOT_A_COUNTER(key)
      throw err
    }
  }
}
