import { accessSync, closeSync, constants, existsSync, fstatSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Env, text } from './env.ts'
import { ConfigError } from './errors.ts'

/** For who may read the log, beside the user of the process: its group. */
const MODE = 0o640
/** How long after one that failed the file is tried to be opened anew again. */
const RETRY_MS = 1000

/** A file that takes whole lines, also of several processes, and can be moved away while they write. */
class LogFile {
  readonly #path: string
  #fd: number
  /** Lines since the last one that was written. */
  #lost = 0
  /** Whether half of a line is the end of the file, and nobody could end it. */
  #isTorn = false
  /** When it is to be opened anew again; undefined where that has succeeded. */
  #reopenAt: number | undefined

  constructor (path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a', MODE)
  }

  /** At once: nothing of it waits in this process when it ends, or when the file is moved. */
  write (line: string): void {
    if (this.#reopenAt !== undefined && performance.now() >= this.#reopenAt) this.#open()
    const bytes = Buffer.from(this.#isTorn ? `\n${line}` : line)
    let at = 0
    try {
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at)
      this.#isTorn = false
      if (this.#lost > 0) this.#tell(`is written again; ${this.#lost} lines were lost`)
      this.#lost = 0
    } catch (err) {
      // A full disk is no reason to fail a request.
      if (this.#lost++ === 0) this.#tell(`cannot be written, what follows is lost: ${(err as Error).message}`)
      if (at > 0) this.#isTorn = !this.#endHalf(bytes.subarray(0, at))
    }
  }

  /** Writes into a file of this name again, after the one so far was moved away. Where that cannot be opened it stays with the old one, and tries again. */
  reopen (): void {
    this.#open()
  }

  #open (): void {
    try {
      const fd = openSync(this.#path, 'a', MODE)
      closeSync(this.#fd)
      this.#fd = fd
      this.#isTorn = false
      if (this.#reopenAt !== undefined) this.#tell('is opened anew')
      this.#reopenAt = undefined
    } catch (err) {
      if (this.#reopenAt === undefined) this.#tell(`cannot be opened anew, what follows goes into the one before: ${(err as Error).message}`)
      this.#reopenAt = performance.now() + RETRY_MS
    }
  }

  /**
   * Makes a line of its own of what is there of one that did not fit, with its last byte, since there is no room for another: the next
   * one, perhaps of another process, would be joined to it.
   */
  #endHalf (half: Buffer): boolean {
    let fd: number | undefined
    try {
      fd = openSync(this.#path, 'r+')
      const [own, found] = [fstatSync(this.#fd), fstatSync(fd)]
      const end = Buffer.alloc(half.length)
      readSync(fd, end, 0, end.length, found.size - end.length)
      // It may have been moved, and another process have written meanwhile.
      if (own.ino !== found.ino || own.dev !== found.dev || !end.equals(half)) return false
      writeSync(fd, '\n', found.size - 1)
      return true
    } catch {
      return false
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  #tell (what: string): void {
    process.stderr.write(`LOG_FILE ${this.#path} ${what}\n`)
  }
}

const unwritable = (path: string, err: unknown): Error => new ConfigError(`LOG_FILE names ${JSON.stringify(path)}, which cannot be written (${(err as NodeJS.ErrnoException).code})`)

/**
 * The path that `LOG_FILE` names; undefined where it names none. It is not opened: a file that a command of another user makes is none
 * that the service could open.
 *
 * @throws {ConfigError} where it cannot be written
 */
export function logFile (env: Env): string | undefined {
  const path = text(env, 'LOG_FILE')
  if (path === undefined) return undefined
  try {
    const isThere = existsSync(path)
    accessSync(isThere ? path : dirname(path), constants.W_OK)
    if (isThere && statSync(path).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    return path
  } catch (err) {
    throw unwritable(path, err)
  }
}

let opened: { path: string, file: LogFile } | undefined

/**
 * Opens the file for the log of this process; at SIGUSR2 it is opened anew.
 *
 * @throws {ConfigError} where it cannot be written
 */
export function openLog (path: string): { write (line: string): void } {
  if (opened?.path === path) return opened.file
  try {
    const file = new LogFile(path)
    opened = { path, file }
    process.on('SIGUSR2', () => file.reopen())
    return file
  } catch (err) {
    throw unwritable(path, err)
  }
}
