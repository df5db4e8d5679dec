import type { RedisClient, RedisLink } from '@jpulse/redis-link'
import { withScripts, type MetricsCommands } from './scripts.ts'

export type Client = RedisClient & MetricsCommands
export type Command = (client: Client) => Promise<unknown>

/** Answers that are asked for at once: thousands in one go would hold up whoever shares the connection. */
const CHUNK = 500

/** Sends commands, many in one go. Every method rejects in an outage, within redis-link's command timeout. */
export class Batch {
  readonly #link: RedisLink

  constructor (link: RedisLink) {
    this.#link = link
    if (link.client !== null) withScripts(link.client)
  }

  run<T> (command: (client: Client) => Promise<T>): Promise<T> {
    return this.#link.run((client) => command(client as unknown as Client))
  }

  async strings (keys: string[]): Promise<Array<string | null>> {
    if (keys.length === 0) return []
    // The keys of a Redis Cluster lie on several nodes, and MGET asks one.
    if (this.#link.mode === 'cluster') return await this.all(keys.map((key) => (client) => client.get(key))) as Array<string | null>
    return this.run((client) => client.mget(keys))
  }

  async all (commands: Command[]): Promise<unknown[]> {
    const answers: unknown[] = []
    for (let first = 0; first < commands.length; first += CHUNK) {
      const chunk = commands.slice(first, first + CHUNK)
      answers.push(...await this.run((client) => this.#link.mode === 'cluster'
        ? Promise.all(chunk.map((command) => command(client)))
        : pipelined(client, chunk)))
    }
    return answers
  }
}

/** Sends commands in one go. @throws the first error among the answers */
async function pipelined (client: Client, commands: Command[]): Promise<unknown[]> {
  const pipeline = client.pipeline()
  // A pipeline has the same methods; what they return is of no use here.
  for (const command of commands) command(pipeline as unknown as Client)
  const answers = await pipeline.exec() ?? []
  return answers.map(([err, answer]) => {
    if (err !== null) throw err
    return answer
  })
}
