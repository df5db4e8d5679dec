import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { install, ROOT, run } from './bootstrap.js'
import { flags } from './flags.js'

// npm run version   takes the files of .changeset/ away, raises the versions and writes the sentences into each CHANGELOG

flags([])
const manifests = ['packages', 'examples'].flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name, 'package.json')))

install()
const before = new Map(manifests.map((file) => [file, readFileSync(file, 'utf8')]))
run(process.execPath, [join(ROOT, 'node_modules/@changesets/cli/bin.js'), 'version'])
// Changesets writes each file in a form of its own; only versions are to be new.
for (const [file, text] of before) {
  const written = JSON.parse(readFileSync(file, 'utf8'))
  const same = text.replace(/^( {2}"version": ")[^"]*/m, `$1${written.version}`)
  if (JSON.stringify(JSON.parse(same)) === JSON.stringify(written)) writeFileSync(file, same)
}
