import { STATUS_CODES } from 'node:http'
import type { Viewer } from '../auth/viewer.ts'
import { type Html, html } from '../html.ts'
import { layout } from './layout.ts'

export function errorPage ({ statusCode, message, viewer }: { statusCode: number, message: string, viewer: Viewer | null | 'unknown' }): Html {
  const title = STATUS_CODES[statusCode] ?? 'Error'
  return layout({
    title: `${title} · jPulse`,
    viewer,
    content: html`
    <section class="card notice">
      <p class="eyebrow">${statusCode}</p>
      <h1>${title}</h1>
      <p>${message}</p>
      <p><a class="button" href="/">Back to the home page</a></p>
    </section>`
  })
}
