import type { Viewer } from '../auth/viewer.ts'
import { type Html, html } from '../html.ts'

export interface Layout {
  title: string
  /** What search engines say of it. */
  description?: string
  /** Path of the page, to mark it in the navigation. */
  path?: string
  /** The worker that made the page; error pages made before routing know none. */
  worker?: string
  /** Who looks at it; `unknown` while the sessions are out of reach. */
  viewer?: Viewer | null | 'unknown'
  /** Scripts below /assets/ that the page needs. */
  scripts?: readonly string[]
  /** Style sheets below /assets/ that the page needs. */
  styles?: readonly string[]
  /** More for the head. */
  head?: Html
  /** The page that this one belongs to. */
  back?: Readonly<{ path: string, label: string }>
  /** Whether the content takes more than the width of a text. */
  wide?: boolean
  /** What an administrator wrote for the foot of each page. */
  footer?: string
  content: Html
}

const DESCRIPTION = 'A site of many workers that share sessions, settings, sockets and figures.'

interface Item { path: string, label: string, admin?: boolean }

const NAVIGATION: readonly Item[] = [
  { path: '/', label: 'Home' },
  { path: '/users', label: 'People' },
  { path: '/analytics/', label: 'Analytics' },
  { path: '/hello-app-cluster/', label: 'Cluster' },
  { path: '/hello-websocket/', label: 'WebSocket' },
  { path: '/docs', label: 'API' },
  { path: '/admin/', label: 'Admin', admin: true }
]

export function layout ({ title, description = DESCRIPTION, path, worker, viewer = null, scripts = [], styles = [], head, back, wide = false, footer = '', content }: Layout): Html {
  const someone = viewer === 'unknown' ? null : viewer
  const isAdmin = someone?.role === 'admin'
  const modules = someone === null ? scripts : ['session.js', ...scripts]
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <meta name="description" content="${description}">
  <title>${title}</title>
  <link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/assets/site.css">${styles.map((style) => html`
  <link rel="stylesheet" href="/assets/${style}">`)}${modules.map((script) => html`
  <script type="module" src="/assets/${script}"></script>`)}${head !== undefined && html`
  ${head}`}
</head>
<body>
  <a class="skip" href="#main">Skip to content</a>
  <header class="bar">
    <div class="wrap">
      <a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="28" height="28">jPulse</a>
      <button class="menu-button" type="button" popovertarget="menu">Menu</button>
      <div class="menu" id="menu" popover>
        <nav aria-label="Main">
          <ul>${NAVIGATION.filter(({ admin }) => admin !== true || isAdmin).map((item) => html`
            <li><a href="${item.path}"${item.path === path && html` aria-current="page"`}>${item.label}</a></li>`)}
          </ul>
        </nav>
        ${account(viewer, path)}
      </div>
    </div>
  </header>
  <main id="main" class="wrap${wide && ' wide'}">${back !== undefined && html`<p class="back"><a href="${back.path}">← ${back.label}</a></p>`}${content}</main>
  ${someone !== null && html`<div class="notices" role="status" data-notices></div>`}
  <footer class="wrap">${footer !== '' && html`
    <p>${footer}</p>`}${worker !== undefined && html`
    <p>Served by worker <code data-testid="served-by">${worker}</code></p>`}
  </footer>
</body>
</html>
`
}

function account (viewer: Viewer | null | 'unknown', path: string | undefined): Html {
  const current = (at: string) => at === path && html` aria-current="page"`
  if (viewer === 'unknown') return html`<p class="account hint">Sign-in is out of reach for the moment</p>`
  if (viewer === null) {
    return html`<nav class="account" aria-label="Account"><ul>
        <li><a href="/sign-in"${current('/sign-in')}>Sign in</a></li>
        <li><a href="/sign-up"${current('/sign-up')}>Sign up</a></li>
      </ul></nav>`
  }
  return html`<nav class="account" aria-label="Account"><ul>
        <li><a href="/profile"${current('/profile')} data-testid="me">${viewer.username}</a></li>
        <li><a href="/devices"${current('/devices')}>Devices</a></li>
        <li><form method="post" action="/sign-out"><button class="plain" type="submit">Sign out</button></form></li>
      </ul></nav>`
}
