import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import { Type } from 'typebox'
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
