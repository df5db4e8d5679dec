import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** What is read of a body that was refused at least: as much as a proxy before it lets through (deploy/nginx.conf: client_max_body_size), and more. */
const LEAST_BYTES = 4 * 1024 * 1024
/** Longest wait for it, in milliseconds. */
const LONGEST_MS = 5000

/**
 * Reads a body that is too large to its end before it says so. Fastify answers at once and closes the connection: nginx, which is still
 * sending, sees a broken pipe, tells its client 502 and counts the server as failed; a few such bodies would close it to everybody.
 */
export default fp(async (app: FastifyInstance) => {
  const mostBytes = Math.max(LEAST_BYTES, 2 * app.initialConfig.bodyLimit!)
  app.addHook('onSend', async ({ raw }, { statusCode }) => {
    // Of one that was given up nothing comes any more, nor its end.
    if (statusCode === 413 && !raw.readableEnded && !raw.destroyed && !(Number(raw.headers['content-length']) > mostBytes)) await passed(raw, mostBytes)
  })
}, { name: 'server-large-bodies', fastify: '5.x' })

function passed (body: IncomingMessage, mostBytes: number): Promise<void> {
  return new Promise((resolve) => {
    let left = mostBytes
    const count = (chunk: Buffer): void => { if ((left -= chunk.length) < 0) done() }
    const done = (): void => {
      clearTimeout(timer)
      body.off('data', count).off('end', done).off('close', done)
      resolve()
    }
    const timer = setTimeout(done, LONGEST_MS)
    body.on('data', count).once('end', done).once('close', done).resume()
  })
}
