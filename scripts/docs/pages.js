import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { ROOT } from '../bootstrap.js'

// Gathers the READMEs and guides as pages of the documentation's site: same words, with links that lead within it.

const PAGES = join(ROOT, 'docs/site/pages')

/** @typedef {{ text: string, link?: string, items?: Item[], collapsed?: boolean }} Item */

/** Where a file is on the site; null where it is none of its pages. @param {string} file @returns {string | null} */
function pageOf (file) {
  if (/(^|\/)CHANGELOG\.md$|^\.|^docs\/site\//.test(file) || !file.endsWith('.md')) return null
  if (file === 'README.md') return 'index.md'
  if (!file.includes('/')) return `guide/${file.toLowerCase()}`
  return file.replace(/^docs\//, 'guide/').replace(/\/docs\//, '/').replace(/README\.md$/, 'index.md')
}

/** @param {string} page @returns {string} its address */
const addressOf = (page) => `/${page.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`

export function writePages () {
  // What git has, and what somebody is about to add.
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: ROOT, encoding: 'utf8' }).trim().split('\n').filter((file) => existsSync(join(ROOT, file)))
  rmSync(PAGES, { recursive: true, force: true })
  /** @type {Map<string, string>} */
  const titles = new Map()
  for (const file of new Set(files)) {
    const page = pageOf(file)
    if (page === null) continue
    const text = readFileSync(join(ROOT, file), 'utf8')
    titles.set(page, /^# (.+)$/m.exec(text)?.[1]?.replace(/^@jpulse\//, '') ?? page)
    write(join(PAGES, page), withLinks(file, text))
  }
  copy('examples/jpulse-site/public/icon.svg', 'icon.svg')
  write(join(PAGES, 'sidebar.json'), JSON.stringify(sidebar(titles)))
}

/** @param {string} path @param {string} text */
function write (path, text) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** @param {string} file @param {string} text */
function withLinks (file, text) {
  // Code is left as it is.
  return text.split(/(```[^]*?```)/).map((part) => part.startsWith('```')
    ? part
    : part.replaceAll(/(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g, (whole, image, words, target) => linked(file, whole, image, words, target))).join('')
}

/** @param {string} file @param {string} whole @param {string} image @param {string} words @param {string} target @returns {string} */
function linked (file, whole, image, words, target) {
  if (/^(?:[a-z]+:|#)/.test(target)) return image === '' && /^!\[/.test(words) ? `[${withLinks(file, words)}](${target})` : whole
  const [path = '', anchor] = target.split('#')
  const found = relative(ROOT, join(ROOT, dirname(file), path)).replace(/\/$/, '')
  if (image === '!') {
    copy(found)
    return `![${words}](/${found})`
  }
  if (/\.(?:png|svg|jpe?g)$/.test(found)) {
    copy(found)
    // VitePress takes a link to what is no page for a page, unless it says otherwise.
    return `[${words}](/${found}){target="_self"}`
  }
  const page = pageOf(found) ?? (existsSync(join(ROOT, found, 'README.md')) ? pageOf(join(found, 'README.md')) : null)
  if (page !== null && existsSync(join(ROOT, found))) return `[${words}](${addressOf(page)}${anchor === undefined ? '' : `#${anchor}`})`
  const repository = process.env.GITHUB_REPOSITORY
  return repository === undefined ? words : `[${words}](https://github.com/${repository}/blob/main/${found})`
}

/** @param {string} file @param {string} [at] where the site has it, its own place unless said otherwise */
function copy (file, at = file) {
  const target = join(PAGES, 'public', at)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(join(ROOT, file), target)
}

/** @param {Map<string, string>} titles @returns {Item[]} */
function sidebar (titles) {
  const item = (/** @type {string} */ page) => ({ text: titles.get(page) ?? page, link: addressOf(page) })
  const below = (/** @type {RegExp} */ pattern) => [...titles.keys()].filter((page) => pattern.test(page)).sort().map(item)
  const packages = [...titles.keys()].filter((page) => /^packages\/[^/]+\/index\.md$/.test(page)).sort()
  return [
    { text: 'Start', items: [item('index.md'), item('guide/which-package.md'), item('packages/create/index.md')] },
    { text: 'Packages', items: packages.map((page) => ({ ...item(page), collapsed: true, items: below(new RegExp(`^${dirname(page)}/(?!index)`)) })) },
    { text: 'Coming from', items: below(/^guide\/migrating\//) },
    { text: 'Guides', items: below(/^guide\/[^/]+$/).filter(({ link }) => link !== '/guide/which-package') },
    { text: 'Examples', items: below(/^examples\//) }
  ]
}
