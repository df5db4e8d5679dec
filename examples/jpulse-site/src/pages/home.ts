import { type Html, html } from '../html.ts'
import { type GuestBookView, guestBookSection } from './guestbook.ts'

export interface HomeView {
  worker: string
  /** Processes of the cluster that are alive. */
  workers: number
  visits: number
  /** What the administrator wrote. */
  welcome: Html
  banner: Html | undefined
  redis: 'disabled' | 'connecting' | 'up' | 'down'
  mongodb: 'disabled' | 'connecting' | 'up' | 'down'
  guestBook: GuestBookView
}

const TOUR = [
  { href: '/hello-websocket/', title: 'WebSocket', text: 'Emoji, a to-do list and rooms, in sync across workers, with what you missed replayed after a break.' },
  { href: '/hello-app-cluster/', title: 'Cluster', text: 'One message to every process, and an answer from each.' },
  { href: '/users', title: 'People', text: 'A long listing by cursor: the last page costs what the first one does.' },
  { href: '/analytics/', title: 'Analytics', text: 'A slow aggregate, computed once for all workers and never stale.' },
  { href: '/devices', title: 'Devices', text: 'Where you are signed in. Sign out everywhere, and it is everywhere at once.' },
  { href: '/docs', title: 'API', text: 'Every route with its schema.' }
]

export function homePage (view: HomeView): Html {
  return html`${view.banner !== undefined && html`
    <div class="card banner" role="status" data-testid="banner">${view.banner}</div>`}
    <section class="hero">
      <p class="eyebrow">Fastify 5 · PM2 · Redis · MongoDB</p>
      <h1>One site, many workers</h1>
      ${view.welcome}
    </section>
    <ul class="facts">
      <li class="card">
        <h2>Worker</h2>
        <p class="figure" data-testid="worker">${view.worker}</p>
        <p class="hint">${view.workers === 1 ? 'The only process of this site.' : `One of ${view.workers}. A new connection may meet another one.`}</p>
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
    <section class="tour" aria-labelledby="tour"><h2 id="tour">What it shows</h2>
      <ul>${TOUR.map(({ href, title, text }) => html`
        <li class="card"><h3><a href="${href}">${title}</a></h3><p class="hint">${text}</p></li>`)}
      </ul>
    </section>
    ${guestBookSection(view.guestBook, html`<h2 id="guestbook">Guest book</h2>`)}
    <p class="more"><a href="/guestbook">All entries</a></p>`
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
