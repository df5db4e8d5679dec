import type { Received } from './types.ts'

/** A message as it comes. */
export interface Frame {
  type?: string
  data?: any
  ctx?: Received['ctx']
  id?: string | number
  replyTo?: string | number
  offset?: string
  error?: { code: string, message: string }
}

export type Handler = (data: any, message: Received) => unknown

/** Who hears which type of message; what one throws concerns no other. */
export class Handlers {
  readonly #byType = new Map<string, Set<Handler>>()
  readonly #write: (frame: Frame) => void
  readonly #report: (err: unknown) => void

  constructor (write: (frame: Frame) => void, report: (err: unknown) => void) {
    this.#write = write
    this.#report = report
  }

  add (type: string, handler: Handler): () => void {
    const handlers = this.#byType.get(type) ?? new Set()
    this.#byType.set(type, handlers.add(handler))
    return () => { handlers.delete(handler) }
  }

  emit (type: string, { data, ctx, id, error }: Frame): void {
    const message: Received = { type, ...(ctx && { ctx }), ...(error && { error }) }
    const ask = async (handler: Handler): Promise<unknown> => handler(data, message)
    const own = [...this.#byType.get(type) ?? []].map(ask)
    const others = type === '*' ? [] : [...this.#byType.get('*') ?? []].map(ask)
    // Who listens to everything knows no answer.
    if (id !== undefined) this.#answer(id, own.shift())
    for (const result of [...own, ...others]) result.catch(this.#report)
  }

  async #answer (id: string | number, result: Promise<unknown> | undefined): Promise<void> {
    const fail = (code: string, message: string) => { this.#write({ type: 'reply', replyTo: id, error: { code, message } }) }
    if (result === undefined) return fail('UNKNOWN_TYPE', 'nobody answers this')
    try {
      this.#write({ type: 'reply', replyTo: id, data: await result })
    } catch (err) {
      fail('HANDLER_FAILED', 'the handler failed')
      this.#report(err)
    }
  }
}

/** Null where it is none. */
export function parse (text: string): Frame | null {
  try {
    const frame: unknown = JSON.parse(text)
    return typeof frame === 'object' ? frame as Frame | null : null
  } catch {
    return null
  }
}
