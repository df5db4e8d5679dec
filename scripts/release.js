import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { bootstrap, cleanEnv, packageManager, ROOT, run, say, temporaryFolder } from './bootstrap.js'
import { flags } from './flags.js'

// npm run release               packs each package as it would be published and hands it to `npm publish --dry-run`
// npm run release -- --publish  publishes what the registry does not have yet; for .github/workflows/release.yml alone

/** @typedef {{ name: string, version: string, dependencies?: Record<string, string>, folder: string }} Package */

/** Every package that is published, each after those that it needs. @returns {Package[]} */
export function published () {
  const left = readdirSync(join(ROOT, 'packages')).map((name) => join(ROOT, 'packages', name)).map((folder) => /** @type {Package} */ ({ ...manifest(folder), folder }))
  /** @type {Package[]} */
  const sorted = []
  while (left.length > 0) {
    const next = left.findIndex(({ dependencies = {} }) => left.every(({ name }) => !(name in dependencies)))
    if (next === -1) throw new Error('the packages need each other in a circle')
    sorted.push(...(left.splice(next, 1)))
  }
  return sorted
}

/** @param {{ name: string, version: string }} of @returns {string} the name that pnpm gives its tarball */
export const tarball = ({ name, version }) => `${name.replace('@', '').replace('/', '-')}-${version}.tgz`

/** Packs every package. @param {string} folder @param {string[]} [args] further arguments for pnpm */
export async function packAll (folder, args = []) {
  mkdirSync(folder, { recursive: true })
  await promisify(execFile)('npm', ['exec', '--yes', '--prefer-offline', `--package=${packageManager()}`, '--', 'pnpm', '-r', '--filter', './packages/*', ...args, 'pack', '--pack-destination', folder],
    { cwd: ROOT, env: cleanEnv() })
}

/** What npm says of a tarball. It rejects where npm refuses it. @param {string} file @param {string[]} args */
export async function publish (file, args) {
  const { stdout, stderr } = await promisify(execFile)('npm', ['publish', file, ...args], { env: cleanEnv() })
  return stdout + stderr
}

/** @param {string} folder @returns {Record<string, unknown>} */
const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

/** Where the sources are, which is part of what npm proves of a package. Forks publish under their own address. */
function nameRepository () {
  const repository = process.env.GITHUB_REPOSITORY
  if (repository === undefined) return say('GITHUB_REPOSITORY is not set: the packages name no repository, and npm would prove no origin')
  const url = `https://github.com/${repository}`
  for (const { folder } of published()) {
    const directory = folder.slice(ROOT.length)
    const named = { ...manifest(folder), repository: { type: 'git', url: `git+${url}.git`, directory }, homepage: `${url}/tree/main/${directory}#readme`, bugs: `${url}/issues` }
    writeFileSync(join(folder, 'package.json'), `${JSON.stringify(named, null, 2)}\n`)
  }
}

/** @param {Pick<Package, 'name' | 'version'>} of whether the registry has it in this version. @param {string[]} [args] further arguments for npm */
export async function isPublished ({ name, version }, args = []) {
  // npm ends with an error where it knows no such package.
  const { stdout } = await promisify(execFile)('npm', ['view', `${name}@${version}`, 'version', ...args], { env: cleanEnv() }).catch(() => ({ stdout: '' }))
  return stdout.trim() === version
}

/** By git alone, without an author: where a tag cannot be made, the release ends with an error. @param {string} name */
function tag (name) {
  const known = spawnSync('git', ['tag', '--list', name], { cwd: ROOT, encoding: 'utf8' }).stdout.trim()
  if (known === '') run('git', ['tag', name])
}

async function release () {
  const isReal = flags(['--publish']).has('--publish')
  if (isReal && process.env.CI !== 'true') throw new Error('--publish is for the release workflow: provenance is proven there alone')
  bootstrap()
  if (process.env.CI === 'true') nameRepository()
  const folder = temporaryFolder('release')
  await packAll(folder)
  for (const one of published()) {
    // npm refuses it otherwise, also in a dry run.
    if (await isPublished(one)) { say(`${one.name}@${one.version} is published already`); continue }
    say(await publish(join(folder, tarball(one)), isReal ? ['--access', 'public', '--provenance'] : ['--access', 'public', '--dry-run']))
  }
  if (isReal) for (const one of published()) tag(`${one.name}@${one.version}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await release()
