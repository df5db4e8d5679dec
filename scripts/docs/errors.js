import { readFileSync, readdirSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../bootstrap.js'

/** @typedef {{ code: string, status: number, message: string, when: string }} KnownError */

const DECLARATION = /\/\*\*((?:(?!\*\/)[^])*)\*\/\nexport const \w+ = createError(?:<[^>]*>)?\(\s*'(\w+)',\s*(['"`])((?:\\.|(?!\3)[^\\])*)\3,\s*(\d{3})\)/g

/** The errors that a file declares, each with its comment. @param {string} file @returns {KnownError[]} */
function errorsOf (file) {
  const source = readFileSync(file, 'utf8')
  const found = [...source.matchAll(DECLARATION)].map(([, comment = '', code = '', , message = '', status]) => ({
    code, status: Number(status), message: message.replaceAll(/\\(.)/g, '$1'), when: comment.split('\n').map((line) => line.replace(/^\s*\* ?/, '')).join(' ').trim()
  }))
  const declared = source.match(/\bcreateError(?=[<(])/g)?.length ?? 0
  if (found.length !== declared) throw new Error(`${file} declares ${declared} errors, and ${found.length} of them can be read: a comment, createError, a code, a text and a status each`)
  return found
}

/** Every file that declares errors, by the name of its package. @returns {Array<[name: string, folder: string, errors: KnownError[]]>} */
function declared () {
  return ['packages', 'examples'].flatMap((group) => readdirSync(join(ROOT, group)).sort().map((name) => join(group, name)))
    .filter((folder) => existsSync(join(ROOT, folder, 'src/errors.ts')))
    .map((folder) => [folder.replace(/^\w+\//, ''), folder, errorsOf(join(ROOT, folder, 'src/errors.ts')).sort((a, b) => a.code < b.code ? -1 : 1)])
}

/** For a cell of a table. @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|').replaceAll(/\{@link (\w+)\}/g, '`$1`')

/** docs/errors.md, from the sources. */
export function errorsPage () {
  const sections = declared().map(([name, folder, errors]) => `## ${name}

[README](../${folder}/README.md)

| code | status | message | when |
|---|---|---|---|
${errors.map(({ code, status, message, when }) => `| \`${code}\` | ${status} | ${cell(message.replaceAll('<', '&lt;'))} | ${cell(when.replaceAll('<', '&lt;'))} |\n`).join('')}`)
  return `# Error codes

Every error of the suite that has a code and a status, from the sources (\`npm run docs -- --errors\`). Match on \`code\`: messages change, and \`%s\` is filled in.
The routes of the plugins answer with \`{ success: false, error, code, statusCode }\`. The codes of [ws-client](../packages/ws-client/README.md#errors), and those that go over its wire, are
in [the protocol](../packages/ws-namespaces/docs/protocol.md).

${sections.map((section) => section.replace(/\[README\]\(\.\.\/(examples\/server-kit)\/README\.md\)\n\n/, '')).join('\n')}`
}
