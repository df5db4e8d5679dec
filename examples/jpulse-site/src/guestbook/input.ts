import type { preValidationAsyncHookHandler } from 'fastify'

/**
 * Cuts the blanks around every text of the body before it is validated, so that blanks alone are no name and no
 * message, and counts a line break once: browsers send two characters for it.
 */
export const tidyBody: preValidationAsyncHookHandler = async (request) => {
  const { body } = request
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return
  request.body = Object.fromEntries(Object.entries(body).map(([name, value]) =>
    [name, typeof value === 'string' ? value.replace(/\r\n?/g, '\n').trim() : value]))
}
