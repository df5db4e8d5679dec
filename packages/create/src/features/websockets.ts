import { has, type Feature } from '../feature.ts'

export const websockets: Feature = {
  name: 'websockets',
  about: 'WebSocket namespaces with rooms, presence and recovery',
  plugin: '@jpulse/ws-namespaces',
  local: 'wsNamespaces',
  options: "{ routePrefix: '/ws' }",
  needs: ['broadcast'],
  devDependencies: ['@jpulse/ws-client', 'ws', '@types/ws'],
  routes: ['`/ws/chat`: a WebSocket; who sends `say` is heard by all'],
  route: (project, ts) => `${ts("import type { FastifyInstance } from 'fastify'\n\n")}export default async function chat (app${ts(': FastifyInstance')}) {
  const namespace = app.wsNamespaces.create('chat', {
    ${has(project, 'sessions') ? '// Whoever is signed in; `authorize` decides otherwise.' : '// Anybody, until `authorize` decides.\n    public: true,'}
    history: { maxLength: 200, maxAgeMs: 120_000 },
    onMessage: async (conn, message) => {
      if (message.type === 'say') await namespace.broadcast('said', String(message.data).slice(0, 500), { from: conn })
    }
  })
}
`,
  test: (project, ts) => `import assert from 'node:assert/strict'
${has(project, 'sessions') ? "import { once } from 'node:events'\n" : ''}import { test } from 'node:test'
import { connect } from '@jpulse/ws-client'
import { WebSocket } from 'ws'
import { ${has(project, 'sessions') ? 'asAdmin, ' : ''}build } from './helper.js'

test('what one says the others hear', async (t) => {
  const app = await build(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
${has(project, 'sessions')
  ? `  const headers = await asAdmin(app)
  class SignedIn extends WebSocket {
    constructor (url${ts(': string | URL')}, protocols${ts('?: string | string[]')}) { super(url, protocols, { headers }) }
  }
`
  : ''}  const open = () => connect(\`\${address.replace('http', 'ws')}/ws/chat\`, { WebSocket: ${has(project, 'sessions') ? 'SignedIn' : 'WebSocket'} })
  const [ada, grace] = [open(), open()]
  t.after(() => { ada.close(); grace.close() })
  await Promise.all([ada.ready, grace.ready])
  const heard = new Promise((resolve) => { grace.on('said', resolve) })
  ada.send('say', 'hello')
  assert.equal(await heard, 'hello')
})
${has(project, 'sessions')
  ? `
test('nobody connects who is not signed in', async (t) => {
  const app = await build(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const [err] = await once(new WebSocket(\`\${address.replace('http', 'ws')}/ws/chat\`), 'error')
  assert.match(String(err), /401/)
})
`
  : ''}`
}
