import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { install, ROOT, run, say } from './bootstrap.js'
import { errorsPage } from './docs/errors.js'
import { writePages } from './docs/pages.js'
import { flags } from './flags.js'

// npm run docs              builds the documentation's site into docs/site/dist
// npm run docs -- --serve   and shows it, on loopback, anew with each change of a page's copy
// npm run docs -- --errors  writes docs/errors.md from the sources, and nothing else

const given = flags(['--serve', '--errors'])
writeFileSync(join(ROOT, 'docs/errors.md'), errorsPage())
if (!given.has('--errors')) {
  install()
  writePages()
  say('building the site of the documentation')
  run(process.execPath, [join(ROOT, 'docs/site/node_modules/vitepress/bin/vitepress.js'), given.has('--serve') ? 'dev' : 'build', join(ROOT, 'docs/site')])
  if (!given.has('--serve')) say('docs/site/dist holds it')
}
