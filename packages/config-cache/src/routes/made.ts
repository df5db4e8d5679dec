import type { FastifyReply, FastifyRequest } from 'fastify'

export type Body = string | Buffer

/** What a handler answered, and with which headers. */
export interface Answer {
  readonly body: Body | null
  readonly headers: ReturnType<FastifyReply['getHeaders']>
}

export interface Made {
  /** Undefined where that is a stream, an object that is not serialized yet, or not known yet. */
  answer: Answer | undefined
}

/** Takes what a handler sends before any hook sees it. */
export function madeBy (reply: FastifyReply): Made {
  const made: Made = { answer: undefined }
  const { send, serializer } = reply
  let isCustom = false
  reply.serializer = function (fn) {
    isCustom = true
    return serializer.call(this, fn)
  }
  // Values that a handler returns go through it as well.
  reply.send = function (payload?: unknown) {
    reply.send = send
    reply.serializer = serializer
    const isBytes = ArrayBuffer.isView(payload)
    if (payload === undefined || isBytes || (typeof payload === 'string' && !isCustom)) {
      const body = isBytes ? Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength) : payload ?? null
      made.answer = { body, headers: { ...this.getHeaders() } }
    }
    return send.call(this, payload)
  }
  return made
}

/** What Fastify makes of a payload: by status, and by type of content where the schema has several. */
export function serialized (request: FastifyRequest, reply: FastifyReply, payload: unknown): unknown {
  const responses = Object.values((request.routeOptions.schema?.response ?? {}) as Record<string, { content?: unknown }>)
  if (responses.every((one) => one?.content === undefined)) return reply.serialize(payload as object)
  const type = String(reply.getHeader('content-type')).split(';', 1)[0]!
  const made = reply.getSerializationFunction(String(reply.statusCode), type) ?? reply.getSerializationFunction('2xx', type)
  return made === undefined ? JSON.stringify(payload) : made(payload as Record<string, unknown>)
}
