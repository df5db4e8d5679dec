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
  /** On a socket of several namespaces, which one it is of. */
  channel?: number
}

type Handler = (data: any, message: Received) => unknown

/** Who hears which type of message; what one throws concerns no other. */
export interface Handlers {
  add (type: string, handler: Handler): () => void
  emit (type: string, frame: Frame): void
}

export function createHandlers (write: (frame: Frame) => unknown, report: (err: unknown) => void): Handlers {
  const byType = new Map<string, Set<Handler>>()

  const answer = async (replyTo: string | number, result: Promise<unknown> | undefined): Promise<void> => {
    const reply = (rest: Frame): unknown => write({ type: 'reply', replyTo, ...rest })
    const fail = (code: string): unknown => reply({ error: { code, message: code } })
    try {
      result ? reply({ data: await result }) : fail('UNKNOWN_TYPE')
    } catch (err) {
      fail('HANDLER_FAILED')
      report(err)
    }
  }

  return {
    add (type, handler) {
      const handlers = byType.get(type) ?? new Set()
      byType.set(type, handlers.add(handler))
      return () => handlers.delete(handler)
    },
    emit (type, { data, ctx, id, error }) {
      const message = { type, ctx, error } as Received
      const of = (one: string): Array<Promise<unknown>> => [...byType.get(one) ?? []].map(async (handler) => handler(data, message))
      const own = of(type)
      const others = type === '*' ? [] : of('*')
      // Who listens to everything knows no answer.
      if (id !== undefined) answer(id, own.shift())
      for (const result of [...own, ...others]) result.catch(report)
    }
  }
}
