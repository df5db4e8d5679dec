import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import type { AppCluster, AskReply, BroadcastMessage, ClusterMode, Gap, Member, OnceResult, PublishResult, Unsubscribe } from '@jpulse/cluster-broadcast'

declare const app: FastifyInstance

test('the decorator', () => {
  expect(app.appCluster).type.toBe<AppCluster>()
  expect(app.appCluster.mode).type.toBe<ClusterMode>()
  expect(app.appCluster.members()).type.toBe<Member[]>()
  app.appCluster.on('gap', (gap) => { expect(gap).type.toBe<Gap>() })
  app.appCluster.on('join', (member) => { expect(member).type.toBe<Member>() })
})

test('messages', async () => {
  const { broadcast } = app.appCluster
  expect(await broadcast.publish('a', { any: ['json'] })).type.toBe<PublishResult>()
  expect(await broadcast.publish('a')).type.toBe<PublishResult>()
  expect(await broadcast.subscribe('a', () => {})).type.toBe<Unsubscribe>()
  broadcast.subscribe('a', (message) => { expect(message).type.toBe<BroadcastMessage<unknown>>() })
  broadcast.subscribe<{ n: number }>('a', ({ data }) => { expect(data).type.toBe<{ n: number }>() })
  expect((await broadcast.ask('a')).replies).type.toBe<AskReply[]>()
  expect(await broadcast.once('a', 1, async () => 'x')).type.toBe<OnceResult<string>>()
  expect(broadcast.subscribe).type.not.toBeCallableWith('a', 'handler')
  expect(app.appCluster.internal).type.not.toBeCallableWith('shop')
  app.appCluster.internal('ws').subscribeJson('ws:a', ({ data }) => { expect(data).type.toBe<string>() })
})
