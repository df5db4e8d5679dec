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
export interface Handlers {
  add (type: string, handler: Handler): () => void
  emit (type: string, frame: Frame): void
}

export function createHandlers (write: (frame: Frame) => void, report: (err: unknown) => void): Handlers {
  const byType = new Map<string, Set<Handler>>()

  const answer = async (replyTo: string | number, result: Promise<unknown> | undefined): Promise<void> => {
    const reply = (rest: Frame): void => write({ type: 'reply', replyTo, ...rest })
    if (!result) return reply({ error: { code: 'UNKNOWN_TYPE', message: 'nobody answers this' } })
    try {
      reply({ data: await result })
    } catch (err) {
      reply({ error: { code: 'HANDLER_FAILED', message: 'the handler failed' } })
      report(err)
    }
  }

  return {
    add (type, handler) {
      const handlers = byType.get(type) ?? new Set()
      byType.set(type, handlers.add(handler))
      return () => { handlers.delete(handler) }
    },
    emit (type, { data, ctx, id, error }) {
      const message: Received = { type, ...(ctx && { ctx }), ...(error && { error }) }
      const of = (one: string): Array<Promise<unknown>> => [...byType.get(one) ?? []].map(async (handler) => handler(data, message))
      const own = of(type)
      const others = type === '*' ? [] : of('*')
      // Who listens to everything knows no answer.
      if (id !== undefined) answer(id, own.shift())
      for (const result of [...own, ...others]) result.catch(report)
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
