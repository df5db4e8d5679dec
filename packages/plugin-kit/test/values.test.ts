import fc from 'fast-check'
import t from 'tap'
import { jsonOf, lossOf } from '../src/index.ts'

class Shown { a = 1 }
class Hidden { #a = 1; get a (): number { return this.#a } }
class Said { toJSON (): unknown { return 'said' } }
class SaidEmpty { toJSON (): unknown { return new Map() } }

/** What JSON shows in its own way, or not at all. */
const odd = fc.constantFrom<() => unknown>(
  () => new Map([[1, 2]]), () => new Set([1]), () => new Error('of an outage'), () => /a{2}/, () => Promise.resolve(), () => new Date(0), () => new Shown(),
() => new Hidden(), () => new Said(), () => new SaidEmpty(), () => Object(5), () => Object(true), () => Object('{'), () => Object(Symbol('s')), () => Buffer.from('{'),
() => new Uint8Array(0), () => undefined, () => () => {}, () => Symbol('s'), () => Object.create(null), () => Object.create({ inherited: new Map() }), () => Object.assign(Object.create({ inherited: new Map() }), { own: 1 }),
() => ({ toJSON: () => ({}) }), () => Object.assign([], { extra: new Map() }), () => Object.assign([new Map()], { toJSON: () => 'said' }), () => 1n, () => NaN
).map((make) => make())
const leaf = fc.oneof({ weight: 3, arbitrary: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constantFrom(null, '{', '}', '"{"', '\u2028', '\ud800')) }, { weight: 1, arbitrary: odd })
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, { weight: 3, arbitrary: leaf }, fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(fc.oneof(fc.string(), fc.constant('{')), tie('value'), { maxKeys: 4, noNullPrototype: false }))
}))

t.test('the JSON of a value is that of the engine, or refused where something of the value is lost, wherever that stands in it', async () => {
  fc.assert(fc.property(value, fc.boolean(), (given, withBuffers) => {
    const refuse = (reason: string): Error => new TypeError(reason)
    const attempt = (make: () => string | undefined): string | null => {
      try {
        return make() ?? null
      } catch {
        return null
      }
    }
    const json = attempt(() => JSON.stringify(given))
    const wanted = json === null || lossOf(given, withBuffers) !== null ? null : json
    return attempt(() => jsonOf(given, refuse, withBuffers)) === wanted
  }), { numRuns: 3000 })
})

t.test('numbers, texts and truth values that are objects are what their JSON says', async (t) => {
  t.strictSame([Object(5), [Object(true)], { a: Object('x'), b: {} }].map((one) => lossOf(one)), [null, null, null])
  t.equal(lossOf({ a: [Object(Symbol('s'))] }), 'Symbol')
})
