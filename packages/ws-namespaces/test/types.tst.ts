import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import { Type } from 'typebox'
import { connect, type Client } from '@jpulse/ws-client'
import { connect as connectAsBefore } from '@jpulse/ws-namespaces/client'
import { useNamespace } from '@jpulse/ws-client/react'
import type { LocalStats, Namespace, NamespaceStats, Present, PublishResult, WsNamespaces } from '@jpulse/ws-namespaces'

declare const app: FastifyInstance

test('the decorator', () => {
  expect(app.wsNamespaces).type.toBe<WsNamespaces>()
  expect(app.wsNamespaces.local()).type.toBe<Record<string, LocalStats>>()
  expect(app.wsNamespaces.get('rooms/1')).type.toBe<Namespace | null>()
  expect(app.wsNamespaces.drain()).type.toBe<Promise<void>>()
  expect(app.wsNamespaces.create).type.not.toBeCallableWith('chat', { unheardOf: true })
})

test('what a client sends is typed by the schema, who it is by authorize', () => {
  app.wsNamespaces.create('typed', {
    schema: Type.Union([
      Type.Object({ type: Type.Literal('say'), data: Type.String() }),
      Type.Object({ type: Type.Literal('count'), data: Type.Number() })
    ]),
    authorize: async () => ({ userId: 'ann', level: 3 }),
    onMessage: (conn, message, reply) => {
      expect(conn.ctx.level).type.toBe<number>()
      expect(message.type).type.toBe<'say' | 'count'>()
      if (message.type === 'say') expect(message.data).type.toBe<string>()
      expect(message.id).type.toBe<string | number | undefined>()
      expect(reply({ any: 'json' })).type.toBe<void>()
    }
  })
  app.wsNamespaces.create('plain', {
    onMessage: (conn, message) => {
      expect(conn.userId).type.toBe<string | null>()
      expect(message.data).type.toBe<unknown>()
    }
  })
})

test('the parameters of a pattern are there by their names', () => {
  interface Chat { toServer: { say: string }, toClient: { said: string } }
  const seats = app.wsNamespaces.create('rooms/:id/seats/:seat', {
    authorize: async (_request, { id, seat }) => {
      expect(id).type.toBe<string>()
      return { userId: seat, room: id }
    },
    onMessage: (conn) => { expect(conn.ctx.room).type.toBe<string>() }
  })
  expect(seats.name).type.toBe<string>()
  app.wsNamespaces.create<Chat>()('rooms/:id', {
    authorize: (_request, params) => {
      expect(params).type.toBe<Readonly<Record<'id', string>>>()
      return { userId: params.id }
    }
  })
  // Of a name that is known at run time only, and where types are named, there may be any.
  app.wsNamespaces.create(seats.name, { authorize: (_request, params) => { expect(params).type.toBe<Readonly<Record<string, string>>>(); return false } })
  app.wsNamespaces.create<Chat, { userId: string }>('rooms/:id', { authorize: (_request, params) => { expect(params).type.toBe<Readonly<Record<string, string>>>(); return false } })
  expect(app.wsNamespaces.create).type.not.toBeCallableWith('rooms/:id', { authorize: (_request: unknown, { di }: { di: string }) => ({ userId: di }) })
})

test('what the server does', async () => {
  const chat = app.wsNamespaces.create('chat')
  expect(await chat.broadcast('a', { any: ['json'] }, { except: ['id'], volatile: true })).type.toBe<PublishResult>()
  expect(await chat.toUser('u', 'a')).type.toBe<PublishResult>()
  expect(await chat.presence('room')).type.toBe<Present[]>()
  expect(await chat.stats()).type.toBe<NamespaceStats>()
  expect(await chat.request('u', 'question')).type.toBe<unknown>()
  expect(await chat.online('u')).type.toBe<{ online: boolean, instances: string[] }>()
  expect(chat.toRoom).type.not.toBeCallableWith(5, 'a')
})

test('the client, in both directions', () => {
  const chat = connect<{ said: string, count: number }, { say: string, clear: undefined }>('/api/1/ws/chat')
  chat.on('connected', ({ recovered, clientId }) => {
    expect(recovered).type.toBe<boolean>()
    expect(clientId).type.toBe<string>()
  })
  chat.on('presence:join', ({ userId }) => { expect(userId).type.toBe<string>() })
  chat.on('error', (_data, { error }) => { expect(error?.code).type.toBe<string | undefined>() })
  chat.on('said', (data, { ctx }) => {
    expect(data).type.toBe<string>()
    expect(ctx?.userId).type.toBe<string | null | undefined>()
  })
  expect(chat.on).type.not.toBeCallableWith('unheard of', () => {})
  expect(chat.send('say', 'hello')).type.toBe<boolean>()
  expect(chat.send).type.not.toBeCallableWith('say', 5)
  expect(chat.send).type.not.toBeCallableWith('shout', 'hello')
  expect(chat.request).type.not.toBeCallableWith('shout')
  expect(connect('/any').send('anything', { at: 'all' })).type.toBe<boolean>()
})

/** What is said in a namespace, once for both sides. */
interface Chat {
  toServer: { say: string, move: { x: number }, clear: undefined }
  toClient: { said: string, cleared: undefined }
  answers: { move: { left: number } }
}

/** One in which the server asks, too. */
interface Game extends Chat {
  toClient: { said: string, cleared: undefined, choose: string[], ping: undefined }
  clientAnswers: { choose: number }
}

test('one declaration for server and client', async () => {
  const server = app.wsNamespaces.create<Chat>('chat', {
    schema: Type.Object({ type: Type.String(), data: Type.Unknown() }),
    onMessage: (_conn, message) => {
      expect(message.type).type.toBe<'say' | 'move' | 'clear'>()
      if (message.type === 'say') expect(message.data).type.toBe<string>()
      if (message.type === 'move') expect(message.data.x).type.toBe<number>()
    }
  })
  expect(await server.broadcast('said', 'hello')).type.toBe<PublishResult>()
  expect(await server.toUser('u', 'cleared')).type.toBe<PublishResult>()
  expect(await server.toRoom('r', 'said', 'hello', { volatile: true })).type.toBe<PublishResult>()
  expect(server.broadcast).type.not.toBeCallableWith('said', 5)
  expect(server.broadcast).type.not.toBeCallableWith('said')
  expect(server.broadcast).type.not.toBeCallableWith('say', 'hello')
  expect(app.wsNamespaces.get<Chat>('chat')!.toUser).type.not.toBeCallableWith('u', 'shout')

  for (const client of [connect<Chat>('/chat'), connectAsBefore<Chat>('/chat')]) {
    expect(client).type.toBe<Client<Chat>>()
    client.on('said', (data) => { expect(data).type.toBe<string>() })
    expect(client.on).type.not.toBeCallableWith('say', () => {})
    expect(client.send('say', 'hello')).type.toBe<boolean>()
    expect(client.send('clear')).type.toBe<boolean>()
    expect(client.send).type.not.toBeCallableWith('say')
    expect(client.send).type.not.toBeCallableWith('said', 'hello')
    expect(await client.request('move', { x: 1 })).type.toBe<{ left: number }>()
    expect(await client.request('say', 'hello')).type.toBe<unknown>()
    expect(await client.request<{ mine: true }>('say', 'hello')).type.toBe<{ mine: true }>()
  }
  const { messages, send } = useNamespace<Chat>('/chat')
  expect(messages[0]!.type).type.toBe<'said' | 'cleared'>()
  for (const message of messages) if (message.type === 'said') expect(message.data).type.toBe<string>()
  expect(send).type.not.toBeCallableWith('shout')
})

test('answers are declared, too, in both directions', async () => {
  const game = app.wsNamespaces.create<Game>()('game', {
    onConnect: (conn) => {
      conn.send('said', 'hello')
      conn.send('cleared')
      expect(conn.send).type.not.toBeCallableWith('said', 5)
      expect(conn.send).type.not.toBeCallableWith('say', 'hello')
    },
    onMessage: async (conn, message, reply) => {
      expect(reply).type.not.toBeCallableWith({ right: 1 })
      reply({ left: 1 })
      if ((await game.request(conn, 'choose', ['a', 'b'])) > 1) await game.broadcast('cleared')
      if (message.type === 'move') return { left: message.data.x }
    }
  })
  expect(app.wsNamespaces.create<Game>()).type.not.toBeCallableWith('game', { onMessage: () => ({ right: 1 }) })
  expect(app.wsNamespaces.create<Game>()).type.not.toBeCallableWith('game', { onMessage: async () => 'left' })
  expect(app.wsNamespaces.create<Omit<Game, 'answers'>>()).type.toBeCallableWith('game', { onMessage: async () => 'anything' })
  expect(await game.request('u', 'choose', ['a'])).type.toBe<number>()
  expect(await game.request('u', 'ping', undefined, { timeoutMs: 1 })).type.toBe<unknown>()
  expect(await game.request<{ mine: true }>('u', 'ping')).type.toBe<{ mine: true }>()
  expect(game.request).type.not.toBeCallableWith('u', 'choose', 'a')
  expect(game.request).type.not.toBeCallableWith('u', 'move', { x: 1 })
  for await (const { data } of game.requestEach({ room: 'r' }, 'choose', ['a'])) expect(data).type.toBe<number | undefined>()

  const client = connect<Game>('/game')
  client.on('choose', (choices) => choices.length)
  client.on('choose', async (choices) => { if (choices.length > 1) return 1 })
  client.on('said', () => 'anything')
  expect(client.on).type.not.toBeCallableWith('choose', () => 'first')
})

test('beside a declaration, who clients are follows from authorize', () => {
  const game = app.wsNamespaces.create<Game>()('game', {
    authorize: async (request) => request.ip === '' ? null : { userId: 'ann', level: 3 },
    onMessage: (conn, message) => {
      expect(conn.ctx.level).type.toBe<number>()
      if (message.type === 'move') return { left: conn.ctx.level + message.data.x }
    }
  })
  expect(game).type.toBe<Namespace<Game, { userId: string, level: number }>>()
  expect(game.broadcast).type.not.toBeCallableWith('say', 'hello')
  expect(app.wsNamespaces.create<Game>()).type.not.toBeCallableWith('game', { unheardOf: true })
})

declare const unset: undefined

test('what a variable of the environment may leave out is no error of types', async () => {
  const plain = app.wsNamespaces.create('plain', { authorize: unset, limits: { messages: unset }, history: unset, presence: { graceMs: unset }, clientRooms: unset, onMessage: unset })
  expect(await plain.request('u', 'question', 1, { timeoutMs: unset })).type.toBe<unknown>()
  expect(connect).type.toBeCallableWith('/chat', { token: unset, queue: { maxBytes: unset }, onStatus: unset, WebSocket: unset, minDelayMs: unset })
})

test('a handler may refer to the namespace that is being created', () => {
  const chat = app.wsNamespaces.create('chat', {
    onConnect: (conn) => chat.toRoom('lobby', 'came', conn.userId),
    onMessage: async (_conn, message) => message.type === 'count' ? (await chat.stats()).users : chat.broadcast('said', message.data),
    onDisconnect: () => chat.presence()
  })
  expect(chat).type.toBe<Namespace>()
  const bare = app.wsNamespaces.create('bare', { onMessage: () => bare.stats() })
  expect(bare).type.toBe<Namespace>()
  const declared = app.wsNamespaces.create<Omit<Chat, 'answers'>>('chat', { onMessage: async (_conn, { type }) => type === 'clear' && chat.stats() })
  expect(declared.name).type.toBe<string>()
  const deciding = app.wsNamespaces.create('deciding', {
    authorize: async (): Promise<{ userId: string, level: number } | false> => (await deciding.presence()).length < 10 && { userId: 'ann', level: 3 },
    renew: async (_conn, token): Promise<{ userId: string, level: number } | null> => (await deciding.online(token)).online ? null : { userId: token, level: 1 },
    clientRooms: async (conn, room): Promise<boolean> => conn.ctx.level > 1 && (await deciding.presence(room)).length < 10
  })
  expect(deciding.name).type.toBe<string>()
})
