import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { store, tokenFor, ALICE } from './helper.ts'

t.test('who sends first and reads later, as a proxy does, hears that a body is too large', async (t) => {
  const app = await store(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const body = Buffer.alloc(6_000_000, 'x')
  const head = ['POST /v1/api/create HTTP/1.1', 'host: store', `authorization: Bearer ${tokenFor(ALICE)}`, 'content-type: application/json', 'connection: close']
  const chunked = Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
  for (const [length, sent] of [[`content-length: ${body.length}`, body], ['transfer-encoding: chunked', chunked]] as const) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.pause()
    await once(socket, 'connect')
    const failed = await new Promise((resolve) => {
      socket.once('error', resolve)
      socket.write(Buffer.concat([Buffer.from([...head, length, '', ''].join('\r\n')), sent]), resolve)
    })
    t.equal(failed ?? null, null, length)
    t.match(await text(socket), /^HTTP\/1\.1 413 [^]*"success":false/, length)
  }
})
