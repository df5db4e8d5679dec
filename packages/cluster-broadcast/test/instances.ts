import { existsSync, readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { tcpProxy, uniqueName, waitFor, workers, type TcpProxy, type Topology, type Worker } from '../../../test/helpers/index.ts'
import type { FastifyClusterBroadcastOptions, Member } from '../src/index.ts'

const SCRIPT = new URL('./fixtures/instance.js', import.meta.url)

export interface Instance extends Worker {
  instanceId: string
  bootId: string
}

export interface StartOptions {
  siteId?: string
  options?: FastifyClusterBroadcastOptions
  /** Proxies before every server, for these instances. */
  proxied?: { index: number, nat: Record<string, number> }
  /** Same name for all instances. */
  pmId?: string
  expected?: number
}

/** Processes of one site, each member of one cluster. */
export async function instances (t: Test, topology: Topology, count: number, { siteId = uniqueName(), options = {}, proxied, pmId, expected = count }: StartOptions = {}): Promise<Instance[]> {
  const started = await workers(t, count, SCRIPT, {
    env: (index) => ({
      // Twice the default, because six nodes that write each command to the disk share two loaded cores.
      LINK: JSON.stringify({ ...topology.options, siteId, env: 'test', commandTimeoutMs: 2000 }),
      OPTIONS: JSON.stringify(options),
      SERVER_ID: 'test',
      NODE_APP_INSTANCE: pmId ?? `${index}`,
      ...(proxied?.index === index ? { NAT: JSON.stringify(proxied.nat) } : {})
    })
  })
  const all = await Promise.all(started.map(async (worker): Promise<Instance> => Object.assign(worker, await worker.call<{ instanceId: string, bootId: string }>('info'))))
  await Promise.all(all.map((one) => waitFor(async () => (await one.call<Member[]>('members')).length === expected && await one.call('mode') === 'cluster',
    { what: 'all to be members', timeoutMs: 20_000 })))
  return all
}

/** A proxy before every server that holds data. */
export async function proxies (t: Test, topology: Topology): Promise<{ nat: Record<string, number>, all: TcpProxy[] }> {
  const all = await Promise.all(topology.nodes.map(({ port }) => tcpProxy(t, port)))
  const nat = Object.fromEntries(topology.nodes.map(({ port }, index) => [`127.0.0.1:${port}`, all[index]!.port]))
  return { nat, all }
}

/** The numbers from one to another. */
export const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Waits until what one instance recorded from another has a length, and returns it. */
export async function heard (listener: Instance, name: string, publisher: Instance, length: number): Promise<number[]> {
  let numbers: number[] = []
  await waitFor(async () => {
    numbers = (await listener.call<Record<string, number[]>>('numbers', name))[publisher.bootId] ?? []
    return numbers.length >= length
  }, { what: `${length} messages`, timeoutMs: 30_000, everyMs: 50 }).catch((err) => { throw new Error(`${err.message}, got ${numbers.length}`) })
  return numbers
}

/** A term of a leader, as it noted it itself. */
export interface Term {
  readonly token: number
  readonly holder: string
  readonly from: number
  /** When it last noted that it led. */
  to: number
  /** How often it noted it. */
  notes: number
}

/** The terms in the order in which they began. */
export function termsIn (file: string): Term[] {
  const terms = new Map<number, Term>()
  // The last line may be half written.
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
  for (const line of lines) {
    const [token, holder, at] = line.split(' ') as [string, string, string]
    const term = terms.get(Number(token)) ?? { token: Number(token), holder, from: Number(at), to: 0, notes: 0 }
    terms.set(term.token, Object.assign(term, { to: Number(at), notes: term.notes + 1 }))
  }
  return [...terms.values()]
}
