import type { ClientSession, Collection, ObjectId, WithId } from 'mongodb'
import type { FastifyInstance } from 'fastify'
import { model, Schema } from 'mongoose'
import { expect, test } from 'tstyche'
import { paginateOptions, suggestIndex, toJpulse, toPage, toRelay, type JpulsePage, type Page, type PageOf, type PageQuery, type PaginateOptions, type PlainPage, type RelayConnection } from '../src/index.ts'
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

test('a union of sources, a projection, a page function and mapped pages are inferred', async () => {
  const either = {} as Collection<User> | User[]
  expect((await fastify.paginate(either)).items[0]?.name).type.toBe<string | undefined>()
  const { items: [named] } = await fastify.paginate(users, { projection: { name: 1, _id: 0 } })
  expect(named).type.toBe<Pick<WithId<User>, 'name'> | undefined>()
  const { items: [loose] } = await fastify.paginate({} as Collection, { projection: { name: 1, _id: 0 } })
  expect(loose?.['name']).type.toBe<any>()
  const { items: [hidden] } = await fastify.paginate([{ _id: 1, name: 'Ada', age: 36 }], { projection: { age: 0 } })
  expect(hidden).type.toBeAssignableTo<{ _id: number, name: string } | undefined>()
  expect<NonNullable<typeof hidden>>().type.not.toHaveProperty('age')
  const { items: [label] } = await fastify.paginate(users, { page: async (rows) => rows.map(({ name, _id }) => ({ label: name, _id })) })
  expect(label?.label).type.toBe<string | undefined>()
  expect(toJpulse(page, ({ name }) => name.length)).type.toBe<JpulsePage<number>>()
  expect(toRelay(page, ({ age }) => ({ age }))).type.toBe<RelayConnection<{ age: number }>>()
  expect(toPage(page, ({ age }) => age)).type.toBe<PlainPage<number>>()
  for await (const { items } of fastify.paginate.pages(users, { signal: new AbortController().signal })) expect(items[0]?.age).type.toBe<number | undefined>()
})

test('sort keys and filters are those of the documents, queries have their types', () => {
  expect(fastify.paginate).type.toBeCallableWith(users, { sort: { 'name.first': 1, _id: -1 } })
  expect(fastify.paginate).type.not.toBeCallableWith(users, { sort: { nam: 1 } })
  expect(fastify.paginate).type.toBeCallableWith(users, { ...paginateOptions({}), filter: { $or: [{ age: 5 }], 'name.x': 1, name: /x/ } })
  expect<Static<ReturnType<typeof PageQuery>>['sort']>().type.toBe<string | undefined>()
  expect<Static<ReturnType<typeof PageQuery>>['limit']>().type.toBe<number | undefined>()
})

test('a model of mongoose gives its documents, hydrated or lean', async () => {
  const Person = model('Person', new Schema({ name: { type: String, required: true } }))
  const { items: [hydrated] } = await fastify.paginate(Person, { filter: { _id: 'cast by mongoose' }, populate: 'friends' })
  expect<NonNullable<typeof hydrated>>().type.toHaveProperty('save')
  expect(hydrated?.name).type.toBe<string | undefined>()
  const { items: [lean] } = await fastify.paginate(Person, { lean: true })
  expect(lean?.name).type.toBe<string | undefined>()
  expect<NonNullable<typeof lean>>().type.not.toHaveProperty('save')
  expect((await fastify.paginate(Person.collection)).items).type.toBeAssignableTo<object[]>()
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
