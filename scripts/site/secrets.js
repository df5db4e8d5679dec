import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {{ sessionSecret: string, adminPassword: string }} Secrets
 */

/**
 * The secrets of a run folder: made at the first start, the same at each later one and for all workers, so that who is
 * signed in stays so across restarts.
 *
 * @param {string} dir
 * @returns {{ secrets: Secrets, file: string, isNew: boolean }}
 */
export function runSecrets (dir) {
  mkdirSync(dir, { recursive: true })
  const file = join(dir, 'secrets.json')
  const isNew = create(file)
  return { secrets: JSON.parse(readFileSync(file, 'utf8')), file, isNew }
}

/** Written aside and linked into place: of two starts at once one makes it, and nobody reads half of it. @param {string} file */
function create (file) {
  const aside = `${file}.${process.pid}`
  const secrets = { sessionSecret: randomBytes(32).toString('base64url'), adminPassword: randomBytes(12).toString('base64url') }
  writeFileSync(aside, JSON.stringify(secrets), { mode: 0o600 })
  try {
    linkSync(aside, file)
    return true
  } catch (err) {
    if (/** @type {NodeJS.ErrnoException} */ (err).code === 'EEXIST') return false
    throw err
  } finally {
    rmSync(aside)
  }
}
