import type { ClientSession, Collection, ObjectId, WithId } from 'mongodb'
import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import { suggestIndex, toJpulse, toRelay, type JpulsePage, type Page, type PageOf, type PageQuery, type PaginateOptions, type RelayConnection } from '../src/index.ts'
import type { Static, TInteger, TObject, TOptional, TString } from 'typebox'

interface User {
  name: string
  age: number
}

type UserPage = Static<ReturnType<typeof PageOf<TObject<{ name: TString }>>>>

declare const fastify: FastifyInstance
declare const users: Collection<User>
declare const page: Page<User>

test('items have the type of the source', () => {
  expect(fastify.paginate(users)).type.toBe<Promise<Page<WithId<User>>>>()
  expect(fastify.paginate([{ _id: 1, name: 'Ada' }])).type.toBe<Promise<Page<{ _id: number, name: string }>>>()
  expect(fastify.paginate(new Set<User>())).type.toBe<Promise<Page<User>>>()
  expect(fastify.paginate({} as AsyncIterable<User>)).type.toBe<Promise<Page<User>>>()
  expect(fastify.paginate.pipeline<{ _id: ObjectId, sum: number }>(users, [])).type.toBe<Promise<Page<{ _id: ObjectId, sum: number }>>>()
})

test('an exported query can be named in a declaration', () => {
  expect<ReturnType<typeof PageQuery>['properties']['limit']>().type.toBe<TOptional<TInteger>>()
})

test('options are checked against the documents', () => {
  expect(fastify.paginate).type.toBeCallableWith(users, { filter: { age: { $gt: 5 } }, sort: { age: -1, name: { order: 1, type: 'string' } } })
  expect(fastify.paginate).type.toBeCallableWith([{ sku: 'a' }], { key: ({ sku }: { sku: string }) => sku })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { filter: { age: 'old' } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { sort: { age: 2 } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { sort: { age: { order: 1, type: 'text' } } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { total: 'all' })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { limits: 5 })
  expect(fastify.paginate).type.toBeCallableWith(users, { driverOptions: { session: {} as ClientSession, maxTimeMS: 100, readPreference: 'secondary' } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { driverOptions: { sort: { age: 1 } } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { driverOptions: { raw: true } })
  expect(fastify.paginate).type.not.toBeCallableWith('users')
  expect(fastify.paginate.pipeline<{ sum: number }>).type.toBeCallableWith(users, [], { filter: { name: 'Ada' }, sort: { sum: 1 } })
  expect(fastify.paginate.pipeline).type.not.toBeCallableWith([], [])
  expect<PaginateOptions<User>['cursor']>().type.toBe<string | null | undefined>()
})

test('pages and their formats keep the type of the items', () => {
  expect(page.pageInfo.cursorOf).type.toBeCallableWith(page.items[0] as User)
  expect(page.pageInfo.nextCursor).type.toBe<string | null>()
  expect(toJpulse(page)).type.toBe<JpulsePage<User>>()
  expect(toRelay(page)).type.toBe<RelayConnection<User>>()
  expect<UserPage['data']>().type.toBe<Array<{ name: string }>>()
  expect<UserPage['pagination']['nextCursor']>().type.toBe<string | null>()
  expect(suggestIndex({ sort: { a: 1 } }).key).type.toBe<Record<string, 1 | -1>>()
})
