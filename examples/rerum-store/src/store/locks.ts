import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { FST_ERR_RERUM_BUSY } from '../errors.ts'

/** Longer than a write takes; a writer that sleeps longer has lost it, and `rev` tells. */
const HELD_MS = 15_000
const WAIT_MS = 10_000

/**
 * Lets one write at a time work on the versions of an object.
 *
 * MongoDB would not need it: there a document is replaced only where its `rev` is still the one read. FerretDB may let two such
 * replacements through. Without Redis there is no lock, and no write either, since config-cache refuses it.
 */
export class TreeLocks {
  readonly #link: FastifyInstance['redisLink']

  constructor (link: FastifyInstance['redisLink']) {
    this.#link = link
  }

  /** @throws FST_ERR_RERUM_BUSY */
  async hold<T> (tree: string, work: () => Promise<T>): Promise<T> {
    const lock = await this.#take(`rerum:${tree}`)
    try {
      return await work()
    } finally {
      await lock?.release()
    }
  }

  async #take (name: string) {
    const deadline = performance.now() + WAIT_MS
    for (;;) {
      const lock = await this.#link.tryLock(name, HELD_MS)
      if (lock !== null || this.#link.state === 'down' || this.#link.state === 'connecting') return lock
      if (performance.now() > deadline) throw new FST_ERR_RERUM_BUSY()
      await sleep(2 + Math.random() * 10)
    }
  }
}
