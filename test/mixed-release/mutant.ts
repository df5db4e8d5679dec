import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Scope } from '../helpers/index.ts'
import { linkDependencies, THIS_RELEASE } from './previous-release.ts'

/** A text of a package's code, and what stands there instead. */
export type Mutation = readonly [owner: string, from: string, to: string]

/** This release with some of its wire changed; it goes with the test. Returns its folder. */
export function mutant (t: Scope, mutations: readonly Mutation[]): string {
  const cache = join(THIS_RELEASE, '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'mutant-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of readdirSync(join(THIS_RELEASE, 'packages'))) {
    const target = join(folder, 'packages', name)
    cpSync(join(THIS_RELEASE, 'packages', name), target, { recursive: true, filter: (from) => !LEFT_OUT.has(basename(from)) })
    linkDependencies(target)
  }
  for (const [owner, from, to] of mutations) replaceIn(join(folder, 'packages', owner, 'dist'), from, to)
  return folder
}

const LEFT_OUT = new Set(['node_modules', 'src', 'test'])

function replaceIn (folder: string, from: string, to: string): void {
  let found = false
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.name.endsWith('.js')) continue
    const file = join(entry.parentPath, entry.name)
    const text = readFileSync(file, 'utf8')
    if (!text.includes(from)) continue
    found = true
    writeFileSync(file, text.replaceAll(from, to))
  }
  if (!found) throw new Error(`nothing in ${folder} says ${from}: the mutation has to follow the code`)
}
