import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Type } from 'typebox'
import { callback, checker, opaque, wantedOf } from '../src/index.ts'

const closed = { additionalProperties: false }

class InvalidOption extends Error {
  constructor (readonly option: string, readonly problem: string) {
    super(`${option} ${problem}`)
  }
}

class Client {
  readonly self = this
  get trap (): never { throw new Error('walked') }
}

const Schema = Type.Object({
  name: Type.Optional(Type.String({ pattern: '^[a-z]{1,8}$', wanted: 'a name of 1 to 8 letters' })),
  path: Type.Optional(Type.Union([Type.Literal(false), Type.String({ pattern: '^/', wanted: 'a path' })])),
  mode: Type.Optional(Type.Enum(['none', 'single', 'cluster'])),
  secure: Type.Optional(Type.Union([Type.Boolean(), Type.Literal('auto')])),
  everyMs: Type.Optional(Type.Union([Type.Literal(0), Type.Integer({ minimum: 1000, maximum: 9000 })])),
  secret: Type.Optional(Type.Union([Type.String({ minLength: 4 }), Type.Array(Type.String({ minLength: 4 }), { minItems: 1 })])),
  replay: Type.Optional(Type.Union([Type.Literal(false), Type.Object({ maxLength: Type.Optional(Type.Integer({ minimum: 1 })) }, closed)])),
  nodes: Type.Optional(Type.Array(Type.Object({ host: Type.String(), port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })) }, closed), { minItems: 1 })),
  channels: Type.Optional(Type.Record(Type.String({ pattern: '^[a-z]+$' }), Type.Object({ replay: Type.Boolean() }, closed), closed)),
  way: Type.Optional(Type.Union([
    Type.Object({ kind: Type.Literal('url'), url: Type.String() }, closed),
    Type.Object({ kind: Type.Literal('host'), host: Type.String() }, closed)
  ])),
  most: Type.Optional(opaque<number>('a whole number of 0 or more, or Infinity', (value) => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 0))),
  client: Type.Optional(Type.Union([Type.Literal(false), opaque<Client>('a client', (value) => value instanceof Client)])),
  authorize: Type.Optional(callback<() => boolean>())
}, closed)

const check = checker(Schema, (option, problem) => new InvalidOption(option, problem))

function refusal (given: unknown, where?: string): InvalidOption {
  try {
    check(given, where)
  } catch (err) {
    return err as InvalidOption
  }
  throw new Error('was not refused')
}

const WRONG: Array<[given: unknown, option: string, problem: string]> = [
  [5, 'options', /must be an object with name, path/.source],
  [[], 'options', /must be an object/.source],
  [{ colour: 1 }, 'colour', '^is unknown$'],
  [{ toString: 1 }, 'toString', '^is unknown$'],
  [{ name: 'A' }, 'name', '^must be a name of 1 to 8 letters$'],
  [{ path: true }, 'path', '^must be false or a path$'],
  [{ mode: 'ring' }, 'mode', '^must be "none", "single" or "cluster"$'],
  [{ secure: 'no' }, 'secure', '^must be true, false or "auto"$'],
  [{ everyMs: 5 }, 'everyMs', '^must be 0 or a whole number from 1000 to 9000$'],
  [{ secret: 'abc' }, 'secret', '^must be a text of 4 or more characters or an array of 1 or more members, each a text of 4 or more characters$'],
  [{ secret: ['long enough', 'abc'] }, 'secret.1', '^must be a text of 4 or more characters$'],
  [{ secret: [] }, 'secret', '^must be an array of 1 or more members'],
  [{ replay: { maxLen: 5 } }, 'replay.maxLen', '^is unknown$'],
  [{ replay: { maxLength: 0 } }, 'replay.maxLength', '^must be a whole number of 1 or more$'],
  [{ replay: 5 }, 'replay', '^must be false or an object with maxLength$'],
  [{ replay: true }, 'replay', '^must be false or an object with maxLength$'],
  [{ replay: null }, 'replay', '^must be false or an object with maxLength$'],
  [{ nodes: [] }, 'nodes', '^must be an array of 1 or more members, each an object with host, port$'],
  [{ nodes: [{ host: 'a' }, { host: 'b', port: 0 }] }, 'nodes.1.port', '^must be a whole number from 1 to 65535$'],
  [{ nodes: [{ port: 1 }] }, 'nodes.0.host', '^is missing: it must be a text$'],
  [{ nodes: [{ host: undefined }] }, 'nodes.0.host', '^is missing'],
  [{ channels: { a: { replay: 1 } } }, 'channels.a.replay', '^must be true or false$'],
  [{ channels: { 'A b': { replay: true } } }, 'channels.A b', '^is no name that may stand here$'],
  [{ way: { kind: 'url', host: 'x' } }, 'way.host', '^is unknown$'],
  [{ way: { kind: 'ring' } }, 'way', '^must be an object with kind, url or an object with kind, host$'],
  [{ way: { colour: 1 } }, 'way', '^must be'],
  [{ most: -1 }, 'most', '^must be a whole number of 0 or more, or Infinity$'],
  [{ client: {} }, 'client', '^must be false or a client$'],
  [{ authorize: 'me' }, 'authorize', '^must be a function$']
]

for (const [given, option, problem] of WRONG) {
  t.test(`an error names ${option} in ${JSON.stringify(given)} and says what it must be`, async (t) => {
    const err = refusal(given)
    t.type(err, InvalidOption)
    t.equal(err.option, option)
    t.match(err.problem, new RegExp(problem))
  })
}

t.test('what is right comes back without undefined on any level, and what is somebody else’s untouched', async (t) => {
  const client = new Client()
  const authorize = (): boolean => true
  const given = { name: undefined, nodes: [{ host: 'a', port: undefined }], replay: { maxLength: undefined }, most: Infinity, client, authorize }
  const checked = check(given)
  t.strictSame(Object.keys(checked), ['nodes', 'replay', 'most', 'client', 'authorize'])
  t.strictSame(Object.keys(checked.nodes![0]!), ['host'])
  t.strictSame(Object.keys(checked.replay as object), [])
  t.equal(checked.client, client)
  t.equal(checked.authorize, authorize)
  t.not(checked.nodes, given.nodes, 'what changes later does not change what was checked')
  t.strictSame(check(undefined), {})
  t.strictSame(check(null), {})
})

t.test('what an instance of a class inherits counts, and what has no names is refused instead of taken for empty', async (t) => {
  class Settings {
    readonly #host = 'a'
    get name () { return 'abc' }
    get nodes () { return [Object.create({ host: this.#host })] }
    authorize () { return this.#host === 'a' }
  }
  const { authorize, ...rest } = check(new Settings()) as { authorize (): boolean }
  t.strictSame(rest, { name: 'abc', nodes: [{ host: 'a' }] })
  t.equal(authorize(), true, 'a method knows what it is a method of')
  t.strictSame(check(Object.create({ name: 'abc', replay: Object.create({ maxLength: 5 }) })), { name: 'abc', replay: { maxLength: 5 } })
  t.strictSame(check(Object.assign(Object.create(null), { name: 'abc' })), { name: 'abc' })
  t.strictSame(check(Object.create(Object.assign(Object.create(null), { name: 'abc' }))), { name: 'abc' }, 'also of one without a prototype')
  t.strictSame(check(runInNewContext('({ name: "abc" })')), { name: 'abc' }, 'of another realm')
  t.match(refusal(Object.create({ colour: 1 })), { option: 'colour', problem: 'is unknown' })
  for (const given of [new Map([['name', 'abc']]), new Set(), Promise.resolve({ name: 'abc' }), new Date(), runInNewContext('new Map()')]) {
    t.match(refusal(given), { option: 'options', problem: /^must be an object with name, .*, not a [A-Z]\w+$/ }, given.constructor.name)
  }
  t.match(refusal({ replay: new Map([['maxLength', 5]]) }, 'namespaces.chat'), { option: 'namespaces.chat.replay', problem: /, not a Map$/ })
  t.match(refusal({ nodes: [new Map([['host', 'a']])] }), { option: 'nodes.0', problem: /, not a Map$/ })
  t.match(refusal({ channels: new Map([['a', { replay: true }]]) }), { option: 'channels', problem: /, not a Map$/ })
})

t.test('options of a part are named below it', async (t) => {
  t.equal(refusal({ replay: { maxLen: 1 } }, 'namespaces.chat').option, 'namespaces.chat.replay.maxLen')
  t.equal(refusal(5, 'namespaces.chat').option, 'namespaces.chat')
})

const PHRASES: Array<[schema: Parameters<typeof wantedOf>[0], wanted: string]> = [
  [Type.Integer(), 'a whole number'],
  [Type.Integer({ maximum: 3 }), 'a whole number of 3 or less'],
  [Type.Number({ exclusiveMinimum: 0, maximum: 1 }), 'a number of 1 or less and above 0'],
  [Type.Number({ multipleOf: 5 }), 'a number that is a multiple of 5'],
  [Type.String(), 'a text'],
  [Type.String({ minLength: 1 }), 'a text that is not empty'],
  [Type.String({ minLength: 1, maxLength: 100 }), 'a text of 1 to 100 characters'],
  [Type.String({ maxLength: 1 }), 'a text of at most 1 character'],
  [Type.String({ minLength: 2, maxLength: 2 }), 'a text of 2 characters'],
  [Type.String({ pattern: '^a' }), 'a text that matches ^a'],
  [Type.Array(Type.Unknown(), { maxItems: 2 }), 'an array of at most 2 members'],
  [Type.Array(Type.Enum(['a', 'b']), { uniqueItems: true }), 'an array each "a" or "b" and no two alike'],
  [Type.Null(), 'null'],
  [Type.Boolean(), 'true or false'],
  [Type.Union([Type.Null(), Type.Union([Type.Literal('a'), Type.Boolean()]), Type.Literal('a')]), 'null, "a", true or false'],
  [Type.Unsafe({ type: ['string', 'null'] }), 'a text or null'],
  [Type.Unsafe({ const: undefined }), 'undefined'],
  [Type.Object({}), 'an object'],
  [Type.Record(Type.String(), Type.Boolean()), 'an object whose values are each true or false'],
  [Type.Unknown(), 'another value']
]

t.test('what a schema wants is derived from it', async (t) => {
  for (const [schema, wanted] of PHRASES) t.equal(wantedOf(schema), wanted)
})
