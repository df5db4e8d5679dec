import t, { type Test } from 'tap'
import { connect, sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import { ReadBatch } from '../src/stores/redis/read-batch.ts'

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** A batch on a real Redis, and the keys of each command that it sent. */
async function setup (t: Test, count: number) {
  const redis = connect(t, Number(new URL(sharedRedis()).port))
  const site = uniqueName()
  const keysOf = (n: number) => [`${site}:s${n}`, `${site}:m${n}`] as const
  const keys = Array.from({ length: count }, (_, n) => keysOf(n))
  for (const [session, mark] of keys) await redis.mset(session, `text of ${session}`, mark, `mark of ${session}`)
  t.teardown(() => redis.del(keys.flat()))
  const sent: string[][] = []
  const batch = new ReadBatch((keys) => {
    sent.push(keys)
    return redis.mget(keys)
  })
  return { redis, batch, sent, keysOf, read: (n: number) => batch.read(...keysOf(n)) }
}

t.test('reads of one turn of the event loop share a command, and each gets its own session', async (t) => {
  const { read, keysOf, sent } = await setup(t, 10)
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => read(n)))
  t.same(answers, answers.map((_, n) => [`text of ${keysOf(n)[0]}`, `mark of ${keysOf(n)[0]}`]))
  t.equal(sent.length, 1)
  t.same(await Promise.all([read(11), read(3)]), [[null, null], answers[3]], 'what is not there is null, and moves nobody')
})

t.test('a read never sees what was true before it began', async (t) => {
  const { read, redis, keysOf, sent } = await setup(t, 1)
  for (let trial = 0; trial < 200; trial++) {
    const early = read(0)
    await nextTurn()
    // The command of the early read is on its way: who ends the session now, and reads it then, must not share its answer.
    await redis.set(keysOf(0)[0], `ended ${trial}`)
    t.same((await read(0))[0], `ended ${trial}`)
    await early
  }
  t.equal(sent.length, 400)
})

t.test('where a command fails, its readers learn it, and later ones do not', async (t) => {
  let isBroken = true
  const batch = new ReadBatch(async (keys) => {
    if (isBroken) throw new Error('broken')
    return keys
  })
  t.same((await Promise.allSettled([batch.read('a', 'b'), batch.read('c', 'd')])).map(({ status }) => status), ['rejected', 'rejected'])
  isBroken = false
  t.same(await batch.read('e', 'f'), ['e', 'f'])
})

t.test('a command reads 64 sessions at most', async (t) => {
  const { read, sent } = await setup(t, 150)
  const answers = await Promise.all(Array.from({ length: 150 }, (_, n) => read(n)))
  t.ok(answers.every(([text, mark]) => text !== null && mark === text.replace('text', 'mark')))
  t.same(sent.map((keys) => keys.length / 2), [64, 64, 22])
})
