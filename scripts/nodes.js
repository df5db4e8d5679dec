import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { cleanEnv, ROOT, say } from './bootstrap.js'
import { flags } from './flags.js'

// npm run nodes   runs the client in Node 20, 22 and 24, each from npm's package `node`, against a server of this one

flags([])
const VERSIONS = ['20', '22', '24']
const run = promisify(execFile)
/** In Node before 22 there is no WebSocket. */
const PROGRAM = `
const { connect } = await import('@jpulse/ws-client')
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket
const client = connect(process.argv[1], { WebSocket, queue: true, maxDelayMs: 500 })
const before = await client.request('echo', 'before')
client.send('leave')
let after
while (after !== 'after') after = await client.request('echo', 'after')
client.close()
const refused = connect('ws://127.0.0.1:1/', { WebSocket, maxDelayMs: 10 })
await new Promise((resolve) => refused.onStatus(resolve))
refused.close()
console.log(process.version, before, after, globalThis.WebSocket === undefined ? 'with ws' : 'with its own WebSocket')
`

const { clusterBroadcast } = await import('@jpulse/cluster-broadcast')
const { redisLink } = await import('@jpulse/redis-link')
const { wsNamespaces } = await import('@jpulse/ws-namespaces')
const app = Fastify()
app.register(redisLink)
app.register(clusterBroadcast)
app.register(wsNamespaces)
await app.ready()
app.wsNamespaces.create('chat', {
  public: true,
  onMessage: (conn, { type, data }) => {
    if (type === 'leave') conn.close(1001)
    return data
  }
})
const url = `${(await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')}/api/1/ws/chat`
try {
  for (const version of VERSIONS) {
    const { stdout: node } = await run('npm', ['exec', '--yes', '--prefer-offline', `--package=node@${version}`, '--', 'node', '-p', 'process.execPath'], { env: cleanEnv() })
    const { stdout } = await run(node.trim(), ['--input-type=module', '-e', PROGRAM, url], { cwd: join(ROOT, 'packages/ws-namespaces'), env: { PATH: process.env.PATH }, timeout: 60_000 })
    say(stdout.trim())
  }
} finally {
  await app.close()
}
