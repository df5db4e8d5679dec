import type { SessionInfo } from '@jpulse/redis-sessions'
import { html, type Html } from '../html.ts'
import { inWords } from '../user-agent.ts'

/** Where somebody is signed in; each can be ended by a form that is sent to `action`. */
export function deviceList (devices: readonly SessionInfo[], action: string): Html {
  return html`<ul class="devices">${devices.map(({ userAgent, current, ip, lastSeenAt, handle }) => html`
      <li class="card"><p><strong title="${userAgent}">${inWords(userAgent)}</strong>${current && html` <span class="state up">this one</span>`}</p>
        <p class="hint">${ip}, last seen <time datetime="${new Date(lastSeenAt).toISOString()}">${new Date(lastSeenAt).toISOString().slice(0, 16).replace('T', ' ')} UTC</time></p>
        <form method="post" action="${action}"><input type="hidden" name="handle" value="${handle}"><button type="submit">Sign out</button></form></li>`)}
    </ul>`
}
