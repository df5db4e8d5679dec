import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { ask, build, data } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'

// However many labels an application gives its own metrics: what is kept, reported and answered is bounded, and the sums are right.

t.setTimeout(240_000)
/** A counter has one value, a histogram one for each bucket and two more. */
const MOST_VALUES = 20_000

t.test('metrics of many labels are bounded together, and no count is lost', async (t) => {
  const { app, lines } = await build(t, { link: { url: sharedRedis(), siteId: uniqueName(), env: 'test' }, options: { registry: false } })
  const { clusterMetrics } = app
  for (let counter = 0; counter < 30; counter++) for (let user = 0; user < 1000; user++) clusterMetrics.increment(`visits${counter}`, 1, { user })
  for (let user = 0; user < 1000; user++) clusterMetrics.observe('wait', 0.01, { user })
  clusterMetrics.increment('late', 7, { kind: 'one' })
  for (const scope of ['instance', 'cluster']) {
    const text = await waitFor(async () => {
      const text = parsePrometheus((await ask(app, `/metrics?scope=${scope}`)).body)
      return text.has('late_total') && text
    }, { timeoutMs: 60_000 })
    const linesOf = (name: string) => text.get(name)?.lines ?? []
    const visits = Array.from({ length: 30 }, (_, counter) => linesOf(`visits${counter}_total`))
    t.ok(visits.flat().length <= MOST_VALUES + 30, `${visits.flat().length} series at ${scope}`)
    t.same(new Set(visits.map((lines) => lines.reduce((sum, { value }) => sum + value, 0))), new Set([1000]))
    t.equal(linesOf('wait').filter(({ name }) => name === 'wait_count').reduce((sum, { value }) => sum + value, 0), 1000)
    t.same(linesOf('late_total').map(({ labels, value }) => [labels, value]), [[{ kind: '__other__' }, 7]], 'its first set of labels came too late')
  }
  t.equal((await data(app)).statistics.counters.visits29, 1000)
  t.equal(lines.filter((line) => line.includes('"metric":"visits29_total"')).length, 1, 'and the log names each')
})

t.test('nor do names of labels go on without end', async (t) => {
  const { app } = await build(t, { options: { registry: false } })
  for (let index = 0; index < 3000; index++) app.clusterMetrics.increment('odd', 1, { [`user${index}`]: 1 })
  const { lines } = parsePrometheus((await ask(app, '/metrics')).body).get('odd_total')!
  t.ok(lines.length <= 1100, `${lines.length} series`)
  t.equal(lines.reduce((sum, { value }) => sum + value, 0), 3000)
})

t.test('nor do long values of labels', async (t) => {
  const { app } = await build(t, { options: { registry: false } })
  for (let index = 0; index < 3000; index++) app.clusterMetrics.increment(`asked${index % 3}`, 1, { agent: `${index}${'x'.repeat(900)}` })
  const text = (await ask(app, '/metrics')).body
  t.ok(text.length < 1_500_000, `${text.length} characters`)
  const all = parsePrometheus(text)
  t.equal([0, 1, 2].flatMap((index) => all.get(`asked${index}_total`)!.lines).reduce((sum, { value }) => sum + value, 0), 3000)
})
