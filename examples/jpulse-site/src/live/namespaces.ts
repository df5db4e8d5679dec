import type {} from '@jpulse/ws-namespaces'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Type, type TSchema } from 'typebox'

const message = <const T extends string, D extends TSchema>(type: T, data: D) => Type.Object({ type: Type.Literal(type), data, id: Type.Optional(Type.Union([Type.String(), Type.Integer()])) })
const empty = Type.Optional(Type.Object({}))
const id = Type.String({ minLength: 1, maxLength: 64 })

const TodoMessages = Type.Union([
  message('list', empty),
  message('add', Type.Object({ text: Type.String({ minLength: 1, maxLength: 200 }) })),
  message('toggle', Type.Object({ id, done: Type.Boolean() })),
  message('remove', Type.Object({ id }))
])
const EmojiMessages = Type.Union([
  message('move', Type.Object({ x: Type.Number({ minimum: 0, maximum: 1 }), y: Type.Number({ minimum: 0, maximum: 1 }) })),
  message('emoji', Type.Object({ emoji: Type.String({ minLength: 1, maxLength: 16 }) }))
])
const RoomMessages = Type.Union([message('say', Type.Object({ text: Type.String({ minLength: 1, maxLength: 500 }) }))])

/** Those that are always there; rooms come and go. */
export const BUILT_IN = ['jpulse-ws-status', 'jpulse-ws-test', 'hello-emoji', 'hello-todo'] as const

/** The WebSocket namespaces of the site, below /api/1/ws and /ws. Whoever is signed in may connect. */
export default fp(async (app: FastifyInstance) => {
  addTodo(app)
  addEmoji(app)
  addRooms(app)
  const { instanceId } = app.identity
  /** Notices to one user or all: see api/messages.ts. */
  app.wsNamespaces.create('jpulse-ws-status', { history: {}, presence: true })
  /** Answers what it gets, so that anybody can try a connection. */
  app.wsNamespaces.create('jpulse-ws-test', { onMessage: (_conn, { data }, reply) => reply({ echo: data ?? null, worker: instanceId }) })
}, { name: 'site-namespaces', fastify: '5.x', dependencies: ['@jpulse/ws-namespaces'] })

function addTodo (app: FastifyInstance): void {
  const { todos } = app.documents
  const todo = app.wsNamespaces.create('hello-todo', {
    schema: TodoMessages,
    history: { maxLength: 1000 },
    async onMessage (conn, message, reply) {
      if (message.type === 'list') return reply(await todos.list())
      if (message.type === 'add') {
        const added = await todos.add(message.data.text, conn.ctx.userId ?? '')
        await todo.broadcast('put', added, { from: conn })
      } else if (message.type === 'toggle') {
        const changed = await todos.toggle(message.data.id, message.data.done)
        if (changed !== null) await todo.broadcast('put', changed, { from: conn })
      } else {
        await todos.remove(message.data.id)
        await todo.broadcast('removed', { id: message.data.id }, { from: conn })
      }
      reply({ saved: true })
    }
  })
}

function addEmoji (app: FastifyInstance): void {
  const emoji = app.wsNamespaces.create('hello-emoji', {
    schema: EmojiMessages,
    presence: true,
    limits: { messages: 60 },
    onMessage (conn, { type, data }) {
      // The next position makes up for one that a slow browser missed.
      return emoji.broadcast(type, { ...data, clientId: conn.clientId }, { from: conn, volatile: type === 'move', except: type === 'move' ? conn : [] })
    }
  })
}

function addRooms (app: FastifyInstance): void {
  app.wsNamespaces.create('rooms/:id', {
    schema: RoomMessages,
    history: {},
    presence: true,
    async onMessage (conn, { data }, reply) {
      await app.wsNamespaces.get(conn.namespace)?.broadcast('said', { text: data.text }, { from: conn })
      reply({ said: true })
    }
  })
}
