import { type Html, html } from '../html.ts'

export interface Layout {
  title: string
  /** Path of the page, to mark it in the navigation. */
  path?: string
  /** The worker that made the page; error pages made before routing know none. */
  worker?: string
  content: Html
}

const NAVIGATION = [
  { path: '/', label: 'Home' },
  { path: '/guestbook', label: 'Guest book' },
  { path: '/health', label: 'Health' }
]

export function layout ({ title, path, worker, content }: Layout): Html {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title}</title>
  <link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/assets/site.css">
</head>
<body>
  <a class="skip" href="#main">Skip to content</a>
  <header class="bar">
    <div class="wrap">
      <a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="28" height="28">jPulse</a>
      <nav aria-label="Main">
        <ul>${NAVIGATION.map((item) => html`
          <li><a href="${item.path}"${item.path === path && html` aria-current="page"`}>${item.label}</a></li>`)}
        </ul>
      </nav>
    </div>
  </header>
  <main id="main" class="wrap">${content}</main>
  <footer class="wrap">${worker !== undefined && html`
    <p>Served by worker <code>${worker}</code></p>`}
  </footer>
</body>
</html>
`
}
