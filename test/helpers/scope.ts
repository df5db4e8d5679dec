import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What the helpers need of a tap test. */
export interface Scope {
  teardown (fn: () => unknown): unknown
}

/** A name that no other test has: for key prefixes, site ids, database names. */
export function uniqueName (prefix = 't'): string {
  return `${prefix}${randomBytes(6).toString('hex')}`
}

/** A folder that goes with the test. */
export function temporaryFolder (t: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'jpulse-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}
