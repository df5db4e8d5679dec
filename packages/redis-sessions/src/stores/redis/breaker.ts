import type { RedisLink } from '@jpulse/redis-link'
import calculateSlot from 'cluster-key-slot'

const PAUSE_MS = 100
/** Stands for the only server where there is no Cluster. */
const ONLY = ''

type Client = NonNullable<RedisLink['client']>

/**
 * Keeps requests from waiting one after the other for a Redis that does not answer: after the first timeout all others are
 * refused at once until a probe is answered. redis-link finds the same out by its own probes, up to two timeouts later.
 *
 * Each primary of a Redis Cluster counts for itself, and its successor after a failover is another.
 */
export class Breaker {
  readonly #link: RedisLink
  readonly #open = new Map<string, NodeJS.Timeout | undefined>()
  readonly #closeAll = () => { for (const node of this.#open.keys()) this.#close(node) }
  #stopped = false

  constructor (link: RedisLink) {
    this.#link = link
    link.on('up', this.#closeAll)
  }

  /** The server that has the keys of a tag now. */
  nodeOf (tag: string): string {
    const { client } = this.#link
    return client !== null && 'nodes' in client ? client.slots[calculateSlot(`{${tag}}`)]?.[0] ?? ONLY : ONLY
  }

  /** Whether commands to this server are refused. */
  isOpen (node: string): boolean {
    return this.#open.has(node)
  }

  /** A command to this server timed out. */
  trip (node: string): void {
    if (this.#open.has(node) || this.#stopped) return
    this.#open.set(node, undefined)
    this.#probe(node)
  }

  stop (): void {
    this.#stopped = true
    this.#closeAll()
    this.#link.off('up', this.#closeAll)
  }

  #close (node: string): void {
    clearTimeout(this.#open.get(node))
    this.#open.delete(node)
  }

  #probe (node: string): void {
    this.#link.run((client) => ping(client, node)).then(() => this.#close(node), () => {
      if (!this.#open.has(node) || this.#stopped) return
      this.#open.set(node, setTimeout(() => this.#probe(node), PAUSE_MS).unref())
    })
  }
}

/** A server that left the Cluster has nothing to be kept from. */
async function ping (client: Client, node: string): Promise<void> {
  if (node === ONLY || !('nodes' in client)) await client.ping()
  else await client.nodes().find(({ options: { host, port } }) => `${host}:${port}` === node)?.ping()
}
