import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { readEnded, type Totals } from '../src/formats/index.ts'
import { getMany } from '../src/store/batch.ts'
import { build } from './build.ts'

t.test('what many instances counted is read in pieces, and counts once for whom is added to the sum, or leaves, between two of them', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const options = { reportIntervalMs: 60_000 }
  const { app, parts: { store } } = await build(t, { link, options, pmId: '0' })
  const { parts: { store: other, reporter } } = await build(t, { link, options, pmId: '1' })
  const client = app.redisLink.client!
  await waitFor(() => app.redisLink.isUp, { what: 'Redis' })
  await reporter.now()
  const MANY = 120
  const texts = Array.from({ length: MANY }, (_, index) => JSON.stringify({ instanceId: `web2:${index}`, seq: 1, counters: { orders: 1 }, series: [] } satisfies Totals))
  await client.mset(texts.flatMap((text, index) => [store.keys.totals(`gone${index}`), text]))
  await client.zadd(store.keys.index, ...texts.flatMap((_, index) => [Date.now() - 1_800_000, `gone${index}`]))

  const pieces: number[] = []
  const mget = client.mget.bind(client) as (keys: string[]) => Promise<Array<string | null>>
  let between = async (): Promise<void> => {}
  client.mget = (async (keys: string[]) => {
    const found = await mget(keys)
    pieces.push(keys.length)
    if (pieces.length === 2) await between()
    return found
  }) as typeof client.mget
  const orders = (all: ReadonlyArray<Totals | null>) => all.reduce((sum, totals) => sum + (totals?.counters.orders ?? 0), 0)
  const scraped = async () => {
    const { living, ended } = await store.totals()
    return orders([...living, ended])
  }
  const shown = async () => orders((await store.found()).ended)
  for (const read of [scraped, shown]) {
    pieces.length = 0
    t.equal(await read(), MANY)
    t.ok(Math.max(...pieces) <= 80 && pieces.length > 2, `pieces of ${pieces.join(', ')}`)
  }
  between = async () => { await Promise.all([other.addEnded(), other.leave()]) }
  pieces.length = 0
  t.equal(await scraped(), MANY)
  t.equal(readEnded(await client.get(store.keys.ended))?.totals.counters.orders, MANY, 'meanwhile they were added')
  between = async () => {}
  for (const read of [scraped, shown]) t.equal(await read(), MANY)
})

t.test('what is small is read in few pieces, and what is large in small ones', async (t) => {
  const { app: { redisLink: link } } = await build(t, { link: { url: sharedRedis(), siteId: uniqueName(), env: 'test' }, pmId: '0' })
  const client = link.client!
  await waitFor(() => link.isUp, { what: 'Redis' })
  const pieces: number[] = []
  const mget = client.mget.bind(client) as (keys: string[]) => Promise<Array<string | null>>
  client.mget = ((keys: string[]) => {
    pieces.push(keys.length)
    return mget(keys)
  }) as typeof client.mget
  const keys = Array.from({ length: 400 }, (_, index) => link.key('metrics', String(index)))
  const readAll = async (texts: string[]): Promise<number[]> => {
    await client.mset(texts.flatMap((text, index) => [keys[index]!, text]))
    pieces.length = 0
    t.ok(isDeepStrictEqual(await getMany(link, [...keys.slice(0, texts.length), link.key('metrics', 'none')]), [...texts, null]))
    return [...pieces]
  }
  t.same(await readAll(keys.map((key) => key)), [5, 20, 80, 200, 96])
  t.same(await readAll(keys.slice(0, 60).map((key) => key.padEnd(200_000, 'x'))), [5, 12, 12, 12, 12, 8])
  t.same(await readAll(keys.slice(0, 39).map((key, index) => key.padEnd(index < 25 ? 10 : 1_000_000, 'x'))), [5, 20, 15])
  t.same(await getMany(link, []), [])
})
