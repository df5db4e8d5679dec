import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'

// scripts/docs.js gathers the pages first.
const sidebar = JSON.parse(readFileSync(new URL('../pages/sidebar.json', import.meta.url), 'utf8'))

/** As GitHub names the anchors of headings, so that one link serves both. @param {string} heading */
const slugify = (heading) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-')

const base = process.env.DOCS_BASE ?? '/'

export default defineConfig({
  title: 'jPulse suite',
  description: 'Fastify 5 plugins for Node applications that run as many processes',
  base,
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `${base}icon.svg` }]],
  srcDir: 'pages',
  outDir: 'dist',
  cleanUrls: true,
  markdown: { html: false, anchor: { slugify } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Which package', link: '/guide/which-package' },
      { text: 'Error codes', link: '/guide/errors' },
      { text: 'Deployment', link: '/guide/deployment' }
    ],
    sidebar
  }
})
