import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import { Type } from 'typebox'
import { connect } from '@jpulse/ws-namespaces/client'
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
