import { setTimeout } from 'node:timers/promises'

/** A request without a token, by a name for people. */
export interface Asked {
  name: string
  method: string
  path: string
  body?: string
  headers?: Record<string, string>
}

export interface Sent { name: string, status: number, bytes: number, /** Of the error, where it is the server's. */ code?: string }

const SEED = 20_261_130
const PATIENCE_MS = 120_000
const LETTERS = ['a', 'é', 'ß', 'ﷺ', '漢', '猫', 'ก', 'ั', 'ក', 'မ', '1', ' ', '́', '.', '𝔘', '"']
const json = { 'content-type': 'application/json' }

/** Requests of many sizes and shapes, the same in each run. */
export class Requests {
  readonly #address: string
  readonly #authorization: string
  readonly #ids: string[] = []
  readonly #isFull: boolean
  #state = SEED

  /** @param isFull whether objects and requests are as many, and objects as large, as the test's database can look through in its time */
  constructor (address: string, authorization: string, isFull: boolean) {
    this.#address = address
    this.#authorization = authorization
    this.#isFull = isFull
  }

  /** Fills the store: many small objects, some of ten kilobytes, one with many versions, the last of which are long. Returns how many. */
  async seed (): Promise<number> {
    const canvas = 'https://example.org/canvas/loop'
    const [small, hundreds, versions] = this.#isFull ? [3, 3, 120] : [1, 1, 30]
    for (let n = 0; n < small; n++) await this.#make(Array.from({ length: 200 }, (_, i) => ({ type: 'Annotation', target: canvas, n: n * 200 + i, body: { value: `lorem ipsum ${i} ${this.#text(60)}` } })))
    for (let n = 0; n < hundreds; n++) await this.#make(Array.from({ length: 100 }, (_, i) => ({ kind: 'ten kilobytes', n: i, text: this.#text(3000), words: this.#words(300) })))
    let { '@id': uri } = (await this.#make([{ kind: 'versions', n: 0 }]))[0]!
    const first = uri
    for (let n = 1; n <= versions; n++) uri = (await this.#write('PUT', 'update', { '@id': uri, kind: 'versions', n, text: this.#text(2000) }))['@id']
    this.#ids.push(...[first, uri].map((one) => one.slice(one.lastIndexOf('/') + 1)))
    for (let n = 1; n <= 6; n++) uri = (await this.#write('PUT', 'update', { '@id': uri, kind: 'versions', n: versions + n, text: this.#text(1000).repeat(this.#isFull ? 300 : 100) }))['@id']
    this.#ids.push(uri.slice(uri.lastIndexOf('/') + 1))
    return small * 200 + hundreds * 100 + 1 + versions + 6
  }

  /** Adds objects as large as a body may be, and one of many parts. */
  async seedLarge (): Promise<void> {
    this.#ids.length = 0
    const share = this.#isFull ? 1 : 0.2
    const scripts = this.#text(10_000)
    const target = 'https://example.org/canvas/large'
    const large = [
      { text: 'lorem ipsum dolor '.repeat(280_000 * share) },
      { text: `"\n${scripts}`.repeat(210 * share) },
      { type: 'Annotation', target, body: { value: scripts.repeat(150 * share) } },
      { list: Array.from({ length: 300_000 * share }, (_, n) => n % 10) }
    ]
    for (const one of large) await this.#make([{ kind: 'large', ...one }])
  }

  /** Each twice: what has to be read, and what is kept. */
  * large (): Generator<Asked> {
    const page = { accept: 'application/ld+json;profile="http://www.w3.org/ns/anno.jsonld"' }
    for (let again = 0; again < 2; again++) {
      for (const [n, id] of this.#ids.entries()) yield { name: `the large object ${n}`, method: 'GET', path: `/id/${id}` }
      yield { name: 'query: large objects', method: 'POST', path: '/api/query?limit=500', body: '{"kind":"large"}', headers: json }
      yield { name: 'query: large objects as an AnnotationPage', method: 'POST', path: '/api/query?limit=500', body: '{"kind":"large","type":"Annotation"}', headers: { ...json, ...page } }
    }
  }

  * all (round: number): Generator<Asked> {
    this.#state = SEED + round
    const query = (name: string, body: unknown, path = '/api/query?limit=500', headers = {}): Asked => ({ name: `query: ${name}`, method: 'POST', path, body: typeof body === 'string' ? body : JSON.stringify(body), headers: { ...json, ...headers } })
    const long = (length: number) => this.#text(length)
    yield query('small objects', { type: 'Annotation' })
    yield query('small objects as an AnnotationPage', { target: 'https://example.org/canvas/loop' }, '/api/query?limit=500', { accept: 'application/ld+json;profile="http://www.w3.org/ns/anno.jsonld"' })
    yield query('objects of ten kilobytes', { kind: 'ten kilobytes' })
    yield query('of versions', { kind: 'versions' })
    yield query('deep', `{"a":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_001)}`)
    yield query('arrays, deep', `{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)
    yield query('wide', Object.fromEntries(Array.from({ length: 4000 }, (_, n) => [`p${n}`, n])))
    yield query('$in of long texts', { a: { $in: Array.from({ length: 200 }, () => long(90)) } })
    yield query('$all of many', { a: { $all: Array.from({ length: 200 }, (_, n) => `${n}${long(50)}`) } })
    yield query('$or of many', { $or: Array.from({ length: 48 }, (_, n) => ({ a: `${n}${long(400)}` })) })
    yield query('$and and $or in turns', Array.from({ length: 9 }).reduce<object>((inner, _, n) => ({ [n % 2 ? '$and' : '$or']: [inner, { b: n }] }), { c: 1 }))
    yield query('a long path', { [`${'a.'.repeat(20_000)}b`]: 1 })
    yield query('a long name', { ['x'.repeat(60_000)]: 1 })
    yield query('a long value', { a: 'é'.repeat(30_000) })
    yield query('escapes', `{"a":"${'\\u0041'.repeat(10_000)}"}`)
    yield query('no JSON', `{"a":${'"x'.repeat(20_000)}`)
    yield query('too large', { a: 'x'.repeat(70_000) })
    yield query('__proto__', '{"__proto__":{"a":1}}')
    yield query('a cursor of nobody', { type: 'Annotation' }, `/api/query?cursor=${'A'.repeat(1900)}`)
    yield query('a strange Accept', { type: 'Annotation' }, '/api/query?limit=5', { accept: `${'"'.repeat(3000)}profile${',;q="'.repeat(1000)}` })
    for (let n = 0; n < (this.#isFull ? 20 : 8); n++) yield query(`filter ${n}`, this.#filter())
    for (const path of ['/api/search', '/api/search/phrase']) {
      const search = (name: string, text: string): Asked => ({ name: `${path}: ${name}`, method: 'POST', path: `${path}?limit=500`, body: JSON.stringify({ searchText: text, options: { match: n++ % 2 ? 'any' : 'all', slop: 100 } }), headers: json })
      let n = 0
      for (let again = 0; again < (this.#isFull ? 2 : 1); again++) {
        yield search('words of all', 'lorem ipsum')
        yield search('twenty words', this.#words(20))
        yield search('one word again and again', 'lorem '.repeat(20))
        yield search('Thai', 'กั'.repeat(600))
        yield search('Khmer', 'ក'.repeat(1200))
        yield search('Han', '漢猫'.repeat(600))
        yield search('what grows by normalizing', 'ﷺ'.repeat(1200))
        yield search('marks', `a${'\u0301'.repeat(1900)}`)
        yield search('many words', this.#words(600))
        yield search('no word', '.'.repeat(3900))
      }
      for (let i = 0; i < (this.#isFull ? 10 : 2); i++) yield search(`text ${i}`, this.#text(1 + Math.floor(this.#random() * 1200)))
      yield { name: `${path}: too large`, method: 'POST', path, body: 'x'.repeat(5_000_000), headers: { 'content-type': 'text/plain' } }
    }
    for (const id of this.#ids) for (const kind of ['id', 'history', 'since']) yield { name: `${kind} of version ${this.#ids.indexOf(id)}`, method: 'GET', path: `/${kind}/${id}` }
    yield { name: 'a long address', method: 'GET', path: `/id/${'x'.repeat(8000)}` }
    yield { name: 'a write without a token', method: 'POST', path: '/api/create', body: 'x'.repeat(4_000_000), headers: json }
  }

  async send ({ name, method, path, body, headers = {} }: Asked): Promise<Sent> {
    try {
      const response = await fetch(`${this.#address}/v1${path}`, { method, headers, ...(body !== undefined && { body }) })
      const answer = Buffer.from(await response.arrayBuffer())
      const { status } = response
      return { name, status, bytes: answer.length, ...(status >= 500 && { code: String((JSON.parse(answer.toString()) as { code?: unknown }).code) }) }
    } catch {
      // Refused before it was sent whole.
      return { name, status: 413, bytes: 0 }
    }
  }

  async #make (bodies: object[]): Promise<Array<{ '@id': string }>> {
    const made = await this.#write('POST', 'bulkCreate', bodies) as unknown as Array<{ '@id': string, id?: string, kind?: string }>
    for (const { '@id': uri, id = uri, kind } of made) if (kind === 'large') this.#ids.push(id.slice(id.lastIndexOf('/') + 1))
    return made
  }

  async #write (method: string, name: string, body: unknown): Promise<{ '@id': string }> {
    const send = () => fetch(`${this.#address}/v1/api/${name}`, { method, headers: { ...json, authorization: this.#authorization }, body: JSON.stringify(body) })
    let response = await send()
    // The database is shared with other tests and may not answer in time. A version that it made all the same is a branch.
    for (const until = Date.now() + PATIENCE_MS; response.status === 503 && Date.now() < until;) {
      await setTimeout(Number(response.headers.get('retry-after')) * 1000)
      response = await send()
    }
    if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`)
    return await response.json() as { '@id': string }
  }

  /** Between 0 and 1 (a linear congruential generator). */
  #random (): number {
    this.#state = (this.#state * 1_664_525 + 1_013_904_223) % 4_294_967_296
    return this.#state / 4_294_967_296
  }

  #pick<T> (list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!
  }

  #text (length: number): string {
    return Array.from({ length }, () => this.#pick(LETTERS)).join('')
  }

  #words (count: number): string {
    return Array.from({ length: count }, () => this.#pick(['lorem', 'ipsum', 'dolor', 'sit', 'amet', 'été', '猫', 'word']) + Math.floor(this.#random() * 40)).join(' ')
  }

  #filter (depth = 0): Record<string, unknown> {
    const values = [1, 'Annotation', null, true, 'x'.repeat(50), ['a', 1], { b: 1 }, -0, 1e300]
    const condition = () => this.#pick<() => unknown>([
      () => this.#pick(values), () => ({ $gt: this.#pick(values) }), () => ({ $in: [this.#pick(values), this.#pick(values)] }), () => ({ $exists: this.#random() < 0.5 }),
      () => ({ $not: { $lt: 5 } }), () => ({ $elemMatch: { a: 1 } }), () => ({ $size: 2 }), () => ({ $where: '1' }), () => ({ $regex: '(a+)+$' })
    ])()
    const filter: Record<string, unknown> = Object.fromEntries(Array.from({ length: 1 + Math.floor(this.#random() * 6) }, () => [this.#pick(['type', 'n', 'body.value', 'items.label.none', 'list.3', '__rerum.history.next', 'kind']), condition()]))
    if (depth < 6 && this.#random() < 0.6) filter[this.#pick(['$and', '$or', '$nor'])] = [this.#filter(depth + 1), this.#filter(depth + 1)]
    return filter
  }
}
