import { type Html, html } from '../html.ts'
import { type GuestBookView, guestBookSection } from './guestbook.ts'
import { layout } from './layout.ts'

export interface HomeView {
  worker: string
  visits: number
  redis: 'disabled' | 'connecting' | 'up' | 'down'
  mongodb: 'disabled' | 'connecting' | 'up' | 'down'
  guestBook: GuestBookView
}

export function homePage (view: HomeView): Html {
  return layout({
    title: 'jPulse: one site, many workers',
    path: '/',
    worker: view.worker,
    content: html`
    <section class="hero">
      <p class="eyebrow">Fastify 5 · PM2 · Redis · MongoDB</p>
      <h1>One site, many workers</h1>
      <p class="lead">Every worker of every server counts the same visits and shows the same guest book.</p>
    </section>
    <ul class="facts">
      <li class="card">
        <h2>Worker</h2>
        <p class="figure" data-testid="worker">${view.worker}</p>
        <p class="hint">Server and worker number. A new connection may meet another one.</p>
      </li>
      <li class="card">
        <h2>Visits</h2>
        <p class="figure" data-testid="visits">${view.visits.toLocaleString('en')}</p>
        <p class="hint">${COUNTED[view.redis]}</p>
      </li>
      <li class="card">
        <h2>Servers</h2>
        <dl class="states">
          ${state('Redis', view.redis)}
          ${state('MongoDB', view.mongodb)}
        </dl>
        ${view.redis === 'disabled' && view.mongodb === 'disabled' && html`<p class="hint">Embedded mode: one process keeps everything in its memory.</p>`}
      </li>
    </ul>
    ${guestBookSection(view.guestBook, html`<h2 id="guestbook">Guest book</h2>`)}
    <p class="more"><a href="/guestbook">All entries</a></p>`
  })
}

const COUNTED: Readonly<Record<HomeView['redis'], string>> = {
  up: 'Counted by all workers together, in Redis.',
  disabled: 'Counted by this process alone: no Redis is configured.',
  connecting: 'Counted by this worker alone until Redis answers.',
  down: 'Counted by this worker alone until Redis is back.'
}

const LABELS: Readonly<Record<HomeView['redis'], string>> = {
  up: 'up', disabled: 'not configured', connecting: 'connecting', down: 'down'
}

function state (name: string, state: HomeView['redis']): Html {
  return html`<div><dt>${name}</dt><dd class="state ${state}">${LABELS[state]}</dd></div>`
}
