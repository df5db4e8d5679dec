import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { ROOT } from './bootstrap.js'

// What each package would publish, without packing it, which takes npm two seconds each: test/pack.test.ts packs and installs them.

/** @param {string} path @returns {string[]} the files below it, or itself */
function filesAt (path) {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => join(path, name)).filter((file) => statSync(file).isFile())
}

for (const name of readdirSync(join(ROOT, 'packages'))) {
  const pkgDir = join(ROOT, 'packages', name)
  if (!existsSync(join(pkgDir, 'package.json'))) continue
  /** @type {string[]} */
  const published = JSON.parse(readFileSync(join(pkgDir, 'package.json'), 'utf8')).files
  const paths = ['package.json', 'README.md', 'LICENSE', ...published].map((path) => join(pkgDir, path)).filter((path) => existsSync(path))
  const files = paths.flatMap(filesAt).map((file) => ({ name: join(name, relative(pkgDir, file)), data: readFileSync(file) }))
  const { messages, pkg } = await publint({ pkgDir: name, strict: true, pack: { files } })
  for (const message of messages) process.stderr.write(`${name}: ${formatMessage(message, pkg)}\n`)
  if (messages.some(({ type }) => type === 'error')) process.exitCode = 1
}
