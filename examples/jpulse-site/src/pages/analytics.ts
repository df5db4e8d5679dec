import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { html, type Html } from '../html.ts'
import { currentReport, type Report } from '../people/report.ts'
import { pageResponses, sendPage } from './page.ts'

/** Charts over all people, drawn on the server. */
const analytics: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/analytics/', { schema: { response: pageResponses } }, async (request, reply) => {
    const report = await currentReport(app)
    const orders = report.cities.reduce((sum, city) => sum + city.orders, 0)
    const spent = report.cities.reduce((sum, city) => sum + city.spent, 0)
    return sendPage(app, request, reply, {
      title: 'Analytics · jPulse',
      path: '/analytics/',
      content: html`
    <section class="hero"><h1>Analytics</h1>
    <p class="lead">Computed by one worker, answered by all: the report is in the cache until one of the people changes, and then nobody serves the old one.</p></section>
    <ul class="facts">
      <li class="card"><h2>People</h2><p class="figure" data-testid="people">${report.people.toLocaleString('en')}</p></li>
      <li class="card"><h2>Orders</h2><p class="figure">${orders.toLocaleString('en')}</p></li>
      <li class="card"><h2>Spent</h2><p class="figure">${spent.toLocaleString('en')} €</p></li>
    </ul>
    <section class="card chart"><h2>Joined by month</h2>${columns(report.months)}</section>
    <section class="card chart"><h2>People by city</h2>${bars(report.cities)}</section>
    <p class="hint">The same as JSON: <a href="/api/1/analytics/performance">/api/1/analytics/performance</a>, whose header <code>X-Cache</code> says where it came from.</p>`
    })
  })
}

export default analytics

const HEIGHT = 120
const STEP = 14

/** One column for each month; a table for who cannot see it. */
function columns (rows: Report['months']): Html {
  const most = Math.max(1, ...rows.map(({ people }) => people))
  const label = `From ${rows[0]?.name ?? ''} to ${rows.at(-1)?.name ?? ''}, at most ${most} a month`
  return html`<svg class="columns-chart" viewBox="0 0 ${rows.length * STEP} ${HEIGHT}" role="img" aria-label="${label}">${rows.map(({ name, people }, index) => {
    const height = Math.round(people / most * HEIGHT)
    return html`<rect x="${index * STEP + 2}" y="${HEIGHT - height}" width="${STEP - 4}" height="${height}" rx="2"><title>${name}: ${people}</title></rect>`
  })}</svg>
      <p class="axis"><span>${rows[0]?.name}</span><span>${rows.at(-1)?.name}</span></p>`
}

function bars (rows: Report['cities']): Html {
  const most = Math.max(1, ...rows.map(({ people }) => people))
  return html`<dl class="bars">${rows.map(({ name, people }) => html`
      <div><dt>${name}</dt><dd><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="${(people / most * 100).toFixed(1)}" height="10"></rect></svg>
        <span>${people.toLocaleString('en')}</span></dd></div>`)}</dl>`
}
