import configCache, { type FastifyConfigCacheOptions } from '@jpulse/config-cache'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import { serversEnv, waitFor } from '../../../test/helpers/index.ts'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { makeFamily, readsOf, WRITES, type Family, type Send } from './matrix.ts'
import type { Ask, Pin } from './pins.ts'
import { storeCluster, warm, write } from './store-cluster.ts'

t.setTimeout(600_000)

/** The store without a cache, on the same database: what is true at this moment. */
async function truth (t: Test, env: Record<string, string>): Promise<(ask: Ask) => Promise<string>> {
  const noCache = fp(async (app: FastifyInstance, options: FastifyConfigCacheOptions) => { await app.register(configCache, { ...options, enabled: false }) })
  const app = await buildApp(loadConfig({ ...env, LOG_LEVEL: 'silent' }), noCache)
  t.teardown(() => app.close())
  return async ({ method = 'GET', path, body }) => {
    const response = await answered(() => app.inject({ method: method as 'GET', url: path, ...(body !== undefined && { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) }), ({ statusCode }) => statusCode)
    // One that waited for the load of an equal request is a hit too, and was loaded after it was asked for.
    const { l1Hits, l2Hits, entries } = app.configCache.stats()
    if (l1Hits + l2Hits + entries > 0) throw new Error('the truth came from a cache')
    return `${response.statusCode} ${response.body}`
  }
}

/** A machine under load may answer 503, which says nothing about the cache. */
const answered = <T>(ask: () => Promise<T>, status: (answer: T) => number): Promise<T> => waitFor(async () => {
  const answer = await ask()
  return (status(answer) < 500 && answer) as T
}, { timeoutMs: 60_000, what: 'an answer' }) as Promise<T>

const read = (pin: Pin, ask: Ask) => answered(() => pin.ask(ask), ({ status }) => status)

/** Asks for all reads at once on all workers: each worker's on its own connections. */
async function onEach<T> (pins: Map<string, Pin[]>, reads: Map<string, Ask>, ask: (pin: Pin, ask: Ask) => Promise<T>): Promise<Array<{ worker: string, name: string, value: T }>> {
  return Promise.all([...pins].flatMap(([worker, own]) => [...reads].map(async ([name, read], i) => ({ worker, name, value: await ask(own[i % own.length]!, read) }))))
}

t.test('each write changes at once, on every worker, each read that it changes, and lets the others be', async (t) => {
  const shared = await serversEnv(t)
  const { pins, env } = await storeCluster(t, { env: shared })
  const isTrue = await truth(t, { ...env, ...shared })
  const writers = [...pins.values()].map(([pin]) => pin!)
  let [unchanged, kept, cells, families, wrong] = [0, 0, 0, 0, 0]
  let tag = ''
  let family: Family
  let reads: Map<string, Ask>
  let before: Map<string, string>

  for (const [i, { name, fresh, run, changes }] of WRITES.entries()) {
    await t.test(name, async (t) => {
      const send: Send = async (...args) => (await write(writers[i % writers.length]!, ...args)).json
      const truths = async () => new Map(await Promise.all([...reads].map(async ([name, ask]) => [name, await isTrue(ask)] as const)))
      if (fresh) {
        tag = `t${families++}`
        family = await makeFamily(send, tag)
        reads = readsOf(family, tag)
        before = await truths()
        await onEach(pins, reads, read)
      }
      // A name that leads nowhere has no answer to be a hit of, and yet is asked for, so that its absence is cached.
      const cacheable = new Map([...reads].filter(([name]) => before.get(name)!.startsWith('200')))
      await onEach(pins, cacheable, warm)

      await run(send, family, tag)
      const answers = await onEach(pins, reads, read)
      const after = await truths()

      const stale = answers.filter(({ name, value }) => `${value.status} ${value.text}` !== after.get(name)).map(({ worker, name, value }) => `${name} on ${worker}: ${value.status} ${value.text.slice(0, 300)}`)
      wrong += stale.length
      t.strictSame(stale.slice(0, 5), [], 'every worker answers the truth')
      const changed = [...reads.keys()].filter((name) => before.get(name) !== after.get(name))
      t.strictSame(changed.filter((name) => !changes.includes(name)), [], 'and nothing changed but what the contract says')
      t.equal(changed.length > 0, changes.length > 0)
      cells += answers.length
      const others = answers.filter(({ name }) => cacheable.has(name) && !changed.includes(name))
      const dropped = others.filter(({ value }) => value.headers['x-cache'] !== 'HIT')
      unchanged += others.length
      kept += others.length - dropped.length
      before = after
      t.comment(`${changed.length} of ${reads.size} reads changed; of ${others.length} unchanged answers ${dropped.length} were dropped ${[...new Set(dropped.map(({ name }) => name))].join(' ')}`)
    })
  }
  const part = 1 - kept / unchanged
  t.comment(`over-invalidation: ${unchanged - kept} of ${unchanged} unchanged answers, ${(100 * part).toFixed(2)}%; ${wrong} stale of ${cells} answers`)
  t.ok(part < 0.2, 'what a write does not change stays cached')
})
