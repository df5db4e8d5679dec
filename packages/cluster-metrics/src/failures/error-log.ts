import { createHash, randomUUID } from 'node:crypto'
import { textOf } from '@jpulse/plugin-kit'
import type { FastifyError, FastifyRequest } from 'fastify'
import { UNMATCHED, type StoredError } from '../formats/index.ts'
import { redact } from './redact.ts'

const MOST = 100
const LONGEST_MESSAGE = 300
const LONGEST_STACK = 2000

/** The errors of this process, the same ones counted instead of repeated, so that a storm of one does not push out the others. */
export class ErrorLog {
  readonly #instanceId: string
  readonly #stacks: boolean
  #unsaved = new Map<string, StoredError>()
  /** What may have been written: as it is, so that it can be told from what came later. */
  #returned: StoredError[] = []
  #kept: StoredError[] = []

  constructor (instanceId: string, stacks: boolean) {
    this.#instanceId = instanceId
    this.#stacks = stacks
  }

  add (error: FastifyError, { method, routeOptions: { url = UNMATCHED } }: FastifyRequest, statusCode: number): void {
    const name = redact(textOf(error?.code ?? error?.name ?? 'Error')).slice(0, 100)
    const message = redact(textOf(error?.message ?? error)).slice(0, LONGEST_MESSAGE)
    const fingerprint = fingerprintOf(name, method, url, message)
    const known = this.#unsaved.get(fingerprint)
    if (known === undefined && this.#unsaved.size >= MOST) return
    const timestamp = new Date().toISOString()
    if (known !== undefined) {
      known.count++
      known.timestamp = timestamp
      return
    }
    const stack = this.#stacks && typeof error?.stack === 'string' ? { stack: redact(error.stack).slice(0, LONGEST_STACK) } : {}
    this.#unsaved.set(fingerprint, { id: randomUUID(), fingerprint, code: name, message, method, route: url, statusCode, instanceId: this.#instanceId, timestamp, count: 1, ...stack })
  }

  /** What Redis does not know; it is forgotten as such, and given back where it is not known whether it was written. */
  take (): StoredError[] {
    const entries = [...this.#returned, ...this.#unsaved.values()]
    this.#returned = []
    this.#unsaved = new Map()
    this.#kept = [...entries.toReversed(), ...this.#kept].slice(0, MOST)
    return entries
  }

  giveBack (entries: StoredError[]): void {
    this.#returned = [...entries, ...this.#returned].slice(-MOST)
    const given = new Set(entries)
    this.#kept = this.#kept.filter((entry) => !given.has(entry))
  }

  /** The last ones of this process, the newest first. */
  recent (): StoredError[] {
    return [...this.unsaved, ...this.#kept].slice(0, MOST)
  }

  get unsaved (): StoredError[] {
    return [...this.#returned, ...this.#unsaved.values()].reverse()
  }
}

function fingerprintOf (code: string, method: string, route: string, message: string): string {
  const kind = message.replace(/[0-9a-f]{8,}|\d+/gi, '#')
  return createHash('sha256').update(JSON.stringify([code, method, route, kind])).digest('hex').slice(0, 12)
}
