import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { maybeViewer } from '../auth/viewer.ts'
import { html, type Html } from '../html.ts'
import { pageResponses, sendPage } from './page.ts'

const EMOJI = ['❤️', '☀️', '✨', '☕', '✌️', '⚡']

const CLUSTER_CODE = `// on every process
app.appCluster.broadcast.subscribe('hello:notice', ({ data }) => {
  heard.unshift(data)
  return app.appCluster.instanceId
})
// on one of them
const { replies, missing } = await app.appCluster.broadcast.ask('hello:notice', { text })`

/** The two pages that show the cluster at work. What is live on them needs somebody signed in. */
const hello: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/hello-app-cluster/', { schema: { response: pageResponses } }, async (request, reply) => {
    const members = app.appCluster.members()
    const intro = await app.templates.orFile('cluster', { members: members.length, worker: app.identity.instanceId })
    const signedIn = isSomebody(maybeViewer(app, request))
    return sendPage(app, request, reply, {
      title: 'Cluster · jPulse',
      path: '/hello-app-cluster/',
      scripts: signedIn ? ['notices.js', 'todo.js'] : [],
      content: html`
    <section class="hero"><h1>One cluster</h1>${intro}</section>
    <div class="pair">
      <section class="card" aria-labelledby="notices"><h2 id="notices">Notifications</h2>${signedIn ? noticeForm() : signInHint('/hello-app-cluster/')}
        <h3>Heard by this worker</h3>
        <ul class="heard" data-heard>${app.notices.heard.map(({ text, by, from }) => html`
          <li><strong>${by}</strong> by way of <code>${from}</code>: ${text}</li>`)}</ul>
      </section>
      <section class="card" aria-labelledby="members"><h2 id="members">Processes</h2>
        <ul class="members">${members.map(({ instanceId, startedAt }) => html`
          <li><code>${instanceId}</code> <span class="hint">since <time datetime="${new Date(startedAt).toISOString()}">${new Date(startedAt).toISOString().slice(11, 19)} UTC</time></span></li>`)}</ul>
      </section>
    </div>
    ${todoSection(signedIn, '/hello-app-cluster/')}
    <section class="card" aria-labelledby="code"><h2 id="code">The code</h2>
      <pre tabindex="0"><code>${CLUSTER_CODE}</code></pre>
    </section>
    <section class="card" aria-labelledby="architecture"><h2 id="architecture">The architecture</h2>
      <p>A message goes to a capped log in Redis and to every process at once. One that notices a hole reads it from the log before it goes on, so each handles
      each message once and in order, also when its connection breaks. Without Redis the same lines work within one process.</p>
    </section>`
    })
  })

  app.get('/hello-websocket/', { schema: { response: pageResponses } }, async (request, reply) => {
    const signedIn = isSomebody(maybeViewer(app, request))
    return sendPage(app, request, reply, {
      title: 'WebSocket · jPulse',
      path: '/hello-websocket/',
      scripts: signedIn ? ['emoji.js', 'todo.js', 'rooms.js', 'echo.js'] : [],
      content: html`
    <section class="hero"><h1>Live, on every worker</h1>
    <p class="lead">Open this page twice: the two may be connected to different workers, and see the same. A connection that breaks comes back, to whichever worker, with what it missed.</p></section>
    ${signedIn ? emojiSection() : html`<section class="card"><h2>Emoji</h2>${signInHint('/hello-websocket/')}</section>`}
    ${todoSection(signedIn, '/hello-websocket/')}
    ${signedIn && html`<div class="pair">${roomSection()}${echoSection()}</div>`}`
    })
  })
}

export default hello

const isSomebody = (viewer: unknown): boolean => viewer !== null && viewer !== 'unknown'

function signInHint (path: string): Html {
  return html`<p>To take part, please <a href="/sign-in?next=${path}">sign in</a> or <a href="/sign-up?next=${path}">sign up</a>.</p>`
}

function noticeForm (): Html {
  return html`
        <form data-notice>
          <label for="notice">Send to all processes</label>
          <input id="notice" name="text" maxlength="200" autocomplete="off" required>
          <button type="submit">Send</button>
        </form>
        <p class="hint" role="status" data-answer></p>`
}

function todoSection (signedIn: boolean, path: string): Html {
  return html`<section class="card" aria-labelledby="todo"><div class="title"><h2 id="todo">To do, together</h2>${signedIn && html`<span class="state connecting" role="status" data-todo-status>connecting</span>`}</div>${signedIn
    ? html`
      <form class="line" data-todo-form><label for="todo-text" class="hidden">New item</label>
        <input id="todo-text" name="text" maxlength="200" placeholder="What is to be done?" autocomplete="off" required><button type="submit">Add</button></form>
      <ul class="todos" data-todos></ul>`
    : signInHint(path)}
    </section>`
}

function emojiSection (): Html {
  return html`<section class="card" aria-labelledby="emoji"><div class="title"><h2 id="emoji">Emoji</h2><span class="state connecting" role="status" data-emoji-status>connecting</span></div>
      <div class="stage" data-stage aria-hidden="true"></div>
      <p class="emoji">${EMOJI.map((emoji) => html`<button type="button" class="quiet" data-emoji="${emoji}" aria-label="Send ${emoji}">${emoji}</button>`)}</p>
      <p class="hint" role="status" data-emoji-last></p>
    </section>`
}

function roomSection (): Html {
  return html`<section class="card" aria-labelledby="rooms"><h2 id="rooms">Rooms</h2>
      <form class="line" data-room-form><label for="room" class="hidden">Room</label>
        <input id="room" name="room" maxlength="32" value="lobby" autocomplete="off" required><button type="submit">Enter</button></form>
      <p class="hint" role="status" data-room-status>Enter a room to talk.</p>
      <ul class="said" data-said></ul>
      <form class="line" data-say-form hidden><label for="say" class="hidden">Say</label>
        <input id="say" name="text" maxlength="500" placeholder="Say something" autocomplete="off" required><button type="submit">Say</button></form>
    </section>`
}

function echoSection (): Html {
  return html`<section class="card" aria-labelledby="echo"><h2 id="echo">Request and response</h2>
      <p>A request over a socket has exactly one answer: data, an error, or a timeout.</p>
      <p><button type="button" data-echo>Ask the worker</button></p>
      <p class="hint" role="status" data-echo-answer></p>
    </section>`
}
