import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** What ran before the first tag: the last commit whose wire was not written down in docs/wire.md. */
const BEFORE_THE_FIRST_TAG = 'fa6976efae840ced822052c0ae8281d3e5a3adef'

/** Folder of this checkout's packages. */
export const THIS_RELEASE = ROOT

/**
 * Builds the packages of the release before this one from the repository's history, once per checkout, and returns
 * their folder. They use the dependencies that are installed here and their own siblings.
 *
 * Types are stripped, not checked: what is published was checked when it was released.
 */
export function previousRelease (): string {
  const commit = previousCommit()
  const folder = join(ROOT, '.cache/previous-release', commit)
  if (existsSync(folder)) return folder
  const unfinished = `${folder}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  const archive = git('archive', '--format=tar', commit, 'packages')
  execFileSync('tar', ['-x', '-C', unfinished], { input: archive })
  for (const name of readdirSync(join(unfinished, 'packages'))) build(join(unfinished, 'packages', name))
  // Two test files may build at the same time.
  if (existsSync(folder)) rmSync(unfinished, { recursive: true })
  else renameSync(unfinished, folder)
  return folder
}

function previousCommit (): string {
  try {
    const tags = String(git('tag', '--merged', 'HEAD', '--sort=-creatordate', '@jpulse/*')).split('\n')
    const commit = tags[0] === '' ? BEFORE_THE_FIRST_TAG : tags[0]!
    return String(git('rev-parse', '--verify', `${commit}^{commit}`)).trim()
  } catch (cause) {
    throw new Error('the release before this one is not in the history of this clone: fetch all of it (git fetch --unshallow --tags)', { cause })
  }
}

function git (...args: string[]): Buffer {
  return execFileSync('git', args, { cwd: ROOT, maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'pipe'] })
}

function build (folder: string): void {
  const source = join(folder, 'src')
  if (!existsSync(source)) return
  for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath, entry.name)
    const target = join(folder, 'dist', file.slice(source.length).replace(/\.ts$/, '.js'))
    mkdirSync(dirname(target), { recursive: true })
    const text = readFileSync(file, 'utf8')
    writeFileSync(target, file.endsWith('.ts') ? withoutTypes(file, text) : text)
  }
  linkDependencies(folder)
}

function withoutTypes (fileName: string, text: string): string {
  return ts.transpileModule(text, {
    fileName,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true
    }
  }).outputText
}

/** A package finds its siblings beside it, and everything else where the installed package of the same name has it. */
export function linkDependencies (folder: string): void {
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
  for (const [name, version] of Object.entries({ ...peerDependencies, ...dependencies })) {
    // What stands at the root is found there.
    if (name in peerDependencies && !existsSync(join(ROOT, 'packages', basename(folder), 'node_modules', name))) continue
    const link = join(folder, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(name.startsWith('@jpulse/') ? join('..', '..', '..', basename(name)) : installed(basename(folder), name, version), link)
  }
}

function installed (owner: string, name: string, version: string): string {
  const here = join(ROOT, 'packages', owner, 'node_modules', name)
  if (existsSync(here)) return realpathSync(here)
  // Another package still has what this one has dropped.
  const store = join(ROOT, 'node_modules/.pnpm')
  const entry = readdirSync(store).find((one) => one.startsWith(`${name.replace('/', '+')}@${version}`))
  if (entry === undefined) throw new Error(`${name} ${version}, which ${owner} of the release before this one needs, is not installed`)
  return join(store, entry, 'node_modules', name)
}
