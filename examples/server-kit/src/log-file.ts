import { closeSync, openSync, writeSync } from 'node:fs'
import { type Env, text } from './env.ts'
import { ConfigError } from './errors.ts'

/** For who may read the log, beside the user of the process: its group. */
const MODE = 0o640

/** A file that takes whole lines, also of several processes, and can be moved away while they write. */
export class LogFile {
  readonly #path: string
  #fd: number
  #isBroken = false

  constructor (path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a', MODE)
  }

  /** At once: nothing of it waits in this process when it ends, or when the file is moved. */
  write (line: string): void {
    try {
      const bytes = Buffer.from(line)
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at)
      this.#isBroken = false
    } catch (err) {
      // A full disk is no reason to fail a request.
      if (!this.#isBroken) process.stderr.write(`LOG_FILE ${this.#path} cannot be written, what follows is lost: ${(err as Error).message}\n`)
      this.#isBroken = true
    }
  }

  /** Writes into a file of this name again, after the one so far was moved away. Where that cannot be opened it stays with the old one. */
  reopen (): void {
    try {
      const fd = openSync(this.#path, 'a', MODE)
      closeSync(this.#fd)
      this.#fd = fd
    } catch (err) {
      process.stderr.write(`LOG_FILE ${this.#path} cannot be opened anew: ${(err as Error).message}\n`)
    }
  }
}

let opened: { path: string, file: LogFile } | undefined

/**
 * The file that `LOG_FILE` names, for the log instead of the standard output; undefined where it names none. At SIGUSR2 it is opened anew.
 *
 * @throws {ConfigError} where it cannot be written
 */
export function logFile (env: Env): LogFile | undefined {
  const path = text(env, 'LOG_FILE')
  if (path === undefined) return undefined
  if (opened?.path === path) return opened.file
  try {
    const file = new LogFile(path)
    opened = { path, file }
    process.on('SIGUSR2', () => file.reopen())
    return file
  } catch (err) {
    throw new ConfigError(`LOG_FILE names ${JSON.stringify(path)}, which cannot be written (${(err as NodeJS.ErrnoException).code})`)
  }
}
