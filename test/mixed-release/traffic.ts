import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { waitFor, type Scope } from '../helpers/index.ts'
import type { Fleet, Instance } from './fleet.ts'

/** What the traffic found wrong, by promise; all zero where two releases live together. */
export interface Verdict {
  notWhole: number
  staleReads: number
  lostMessages: number
  doubledMessages: number
  signedOut: number
  lostFields: number
  resurrected: number
  lostOnSockets: number
  doubledOnSockets: number
  outOfOrder: number
  /** Told `recovered: false`, but by an instance of this release after one of the release before, which leaves no record. */
  notRecovered: number
  wrongBytes: number
  wrongPresence: number
  unansweredAsks: number
  ranTwice: number
  lostValues: number
  wrongMetrics: number
  /** Operations that failed with an error. */
  failures: string[]
}

const USERS = ['ada', 'bo', 'cy', 'di']
const KEYS = ['a', 'b', 'c']

/** A message to a namespace's clients: a number, to everybody or to a room. */
type Sent = [kind: 'room' | 'broadcast', number: number]

interface SocketClient {
  /** As they came over the socket. */
  readonly numbers: number[]
  /** What it loaded anew, of rooms, each time when it was told `recovered: false`: as an application has to. */
  readonly loaded: Set<number>
  connections: number
  notRecovered: number
  /** Messages of bytes that came as they are, and otherwise. */
  readonly bytes: { right: number, wrong: number }
  close (): void
}

/** Nothing wrong. */
export function clean (): Verdict {
  return {
    notWhole: 0,
    staleReads: 0,
    lostMessages: 0,
    doubledMessages: 0,
    signedOut: 0,
    lostFields: 0,
    resurrected: 0,
    lostOnSockets: 0,
    doubledOnSockets: 0,
    outOfOrder: 0,
    notRecovered: 0,
    wrongBytes: 0,
    wrongPresence: 0,
    unansweredAsks: 0,
    ranTwice: 0,
    lostValues: 0,
    wrongMetrics: 0,
    failures: []
  }
}

/** Everything that the packages promise, asked of a fleet round after round. */
export class Traffic {
  readonly verdict = clean()
  /** How much was asked: a verdict about nothing is none. */
  readonly asked = { reads: 0, messages: 0, requests: 0, onSockets: 0, bytes: 0 }
  readonly #fleet: Fleet
  readonly #patienceMs: number
  readonly #cookies = new Map<string, string>()
  readonly #clients: SocketClient[] = []
  /** Noted before it is sent, as an application stores what it tells. */
  readonly #sent: Sent[] = []
  #lastNumber = 0
  #lastRound = 0
  #counted = 0

  constructor (fleet: Fleet, { patienceMs = 10_000 } = {}) {
    this.#fleet = fleet
    this.#patienceMs = patienceMs
  }

  /** Signs everybody in, and opens a socket for each with the client of each release. */
  async begin (t: Scope, clientReleases: readonly string[]): Promise<void> {
    for (const [index, user] of USERS.entries()) await this.#signIn(user, this.#instance(index))
    for (const release of clientReleases) {
      const { connect } = await import(pathToFileURL(join(release, 'packages/ws-namespaces/dist/client.js')).href)
        .catch(() => import(pathToFileURL(join(release, 'packages/ws-namespaces/dist/client/client.js')).href))
      for (const namespace of ['mixed', 'rooms/a%3A7']) {
        for (const user of USERS) this.#clients.push(openClient(t, connect, `ws://127.0.0.1:${this.#fleet.port}/api/1/ws/${namespace}`, this.#cookies.get(user)!, this.#sent))
      }
    }
    // Patience is for what may be in vain, and that it begins is no such thing.
    await waitFor(() => this.#clients.every(({ connections }) => connections > 0), { timeoutMs: 30_000, everyMs: 20, what: 'every client to be connected' })
  }

  /** One round of everything that needs the whole fleet. */
  async round (): Promise<void> {
    if (!await this.#fleet.isWhole(this.#patienceMs * 2)) this.verdict.notWhole++
    this.#lastRound++
    await Promise.all([this.#cache(), this.#broadcast(), this.#sessions(), this.#sockets(), this.#link(), this.#presence()])
    await this.#metrics()
  }

  /** What goes on while an instance is being replaced: the others serve, and clients come back. */
  async meanwhile (): Promise<void> {
    await Promise.all([this.#cache(), this.#sockets()])
  }

  /** What can be said at the end only. */
  end (): Verdict {
    for (const { numbers, notRecovered, bytes } of this.#clients) {
      this.verdict.notRecovered += notRecovered
      this.verdict.wrongBytes += bytes.wrong
      this.asked.bytes += bytes.right
      this.verdict.outOfOrder += numbers.filter((number, index) => index > 0 && number < numbers[index - 1]!).length
    }
    return this.verdict
  }

  #instance (index: number): Instance {
    const { instances } = this.#fleet
    return instances[index % instances.length]!
  }

  /** Every instance writes every key in turn; after each write nobody may read an older value. Before, everybody holds it. */
  async #cache (): Promise<void> {
    for (const key of KEYS) {
      for (const writer of [...this.#fleet.instances]) {
        await this.#fleet.all('read', key).catch(() => {})
        const value = ++this.#lastNumber
        if (await this.#try(() => writer.worker.call('write', key, value).then(() => true)) !== true) continue
        const values = await this.#fleet.all<number>('read', key).catch(() => [])
        this.asked.reads += values.length
        this.verdict.staleReads += values.filter((one) => !(one >= value)).length
      }
    }
  }

  async #broadcast (): Promise<void> {
    const { instances } = this.#fleet
    const texts = instances.map((_, publisher) => Array.from({ length: 20 }, (_, number) => `${this.#lastRound} ${publisher} ${number}`))
    await Promise.all(instances.map(({ worker }, index) => this.#try(() => worker.call('publish', texts[index]))))
    const ours = (heard: string[]) => heard.filter((text) => text.startsWith(`${this.#lastRound} `))
    const all = texts.flat().length
    await this.#until(async () => (await this.#fleet.all<string[]>('heard')).every((heard) => ours(heard).length >= all))
    for (const heard of (await this.#fleet.all<string[]>('heard')).map(ours)) {
      const distinct = new Set(heard)
      this.asked.messages += all
      this.verdict.lostMessages += all - distinct.size
      this.verdict.doubledMessages += heard.length - distinct.size
      for (const own of texts) this.verdict.outOfOrder += heard.filter((text) => own.includes(text)).every((text, index) => text === own[index]) ? 0 : 1
    }
    const asks = await this.#try(() => this.#fleet.all<{ answers: number, missing: number }>('ask', this.#lastRound)) ?? []
    this.verdict.unansweredAsks += asks.filter(({ answers, missing }) => answers !== instances.length || missing > 0).length
    const ran = await this.#try(() => this.#fleet.all<boolean>('once', `job ${this.#lastRound}`)) ?? []
    if (ran.filter(Boolean).length !== 1) this.verdict.ranTwice++
  }

  async #sessions (): Promise<void> {
    const field = `field${this.#lastRound}`
    for (const [index, user] of USERS.entries()) {
      const { instances } = this.#fleet
      const names = instances.map((_, which) => `${field}${which}`)
      // All at once: each adds a field of its own to one session.
      await Promise.all(instances.map((instance, which) => this.#request(instance, 'POST', `/field/${names[which]}`, user)))
      for (const instance of instances) {
        const me = await this.#request(instance, 'GET', '/me', user)
        if (me?.userId !== user) this.verdict.signedOut++
        for (const name of names) if ((await this.#request(instance, 'GET', `/field/${name}`, user))?.set !== true) this.verdict.lostFields++
      }
      if (index === 0) await this.#logout(`visitor${this.#lastRound}`)
    }
  }

  /** A login on each instance that ends on another one is over everywhere. */
  async #logout (user: string): Promise<void> {
    for (const [index, instance] of this.#fleet.instances.entries()) {
      await this.#signIn(user, instance)
      await this.#request(this.#instance(index + 1), 'POST', '/logout', user)
      for (const other of this.#fleet.instances) if ((await this.#request(other, 'GET', '/me', user))?.userId !== null) this.verdict.resurrected++
    }
  }

  async #sockets (): Promise<void> {
    const before = this.#lastNumber
    for (const { worker } of [...this.#fleet.instances]) {
      const messages = Array.from({ length: 20 }, (_, index): Sent => [index % 2 === 0 ? 'room' : 'broadcast', ++this.#lastNumber])
      this.#sent.push(...messages)
      await this.#try(() => worker.call('toClients', messages))
      const lost = (client: SocketClient) => messages.filter(([kind, number]) => !client.numbers.includes(number) && !(kind === 'room' && client.loaded.has(number)))
      await this.#until(() => this.#clients.every((client) => lost(client).length === 0))
      for (const client of this.#clients) {
        this.asked.onSockets += messages.length
        this.verdict.lostOnSockets += lost(client).length
      }
    }
    for (const { numbers } of this.#clients) {
      const since = numbers.filter((number) => number > before)
      this.verdict.doubledOnSockets += since.length - new Set(since).size
    }
  }

  async #presence (): Promise<void> {
    const isRight = async () => (await this.#fleet.all<string[]>('online')).every((users) => users.join() === USERS.join())
    if (!await this.#until(isRight)) this.verdict.wrongPresence++
  }

  async #link (): Promise<void> {
    const locked = await this.#try(() => this.#fleet.all<boolean>('lock', `lock ${this.#lastRound}`)) ?? []
    if (locked.filter(Boolean).length !== 1) this.verdict.ranTwice++
    for (const [index, { worker }] of this.#fleet.instances.entries()) {
      const value = { round: this.#lastRound, index }
      await this.#try(() => worker.call('keep', `value ${index}`, value))
      const kept = await this.#fleet.all('kept', `value ${index}`)
      this.verdict.lostValues += kept.filter((one) => JSON.stringify(one) !== JSON.stringify(value)).length
    }
  }

  /** Every instance reports all of them, and the sum of what was ever counted. */
  async #metrics (): Promise<void> {
    await this.#fleet.all('count', 10)
    this.#counted += 10 * this.#fleet.instances.length
    const isRight = async () => (await this.#fleet.all<{ instances: number, things: number }>('metrics'))
      .every(({ instances, things }) => instances === this.#fleet.instances.length && things === this.#counted)
    if (!await this.#until(isRight)) this.verdict.wrongMetrics++
  }

  async #signIn (user: string, instance: Instance): Promise<void> {
    const reply = await fetch(`http://127.0.0.1:${instance.port}/login/${user}`, { method: 'POST' })
    this.#cookies.set(user, reply.headers.getSetCookie()[0]?.split(';')[0] ?? '')
  }

  async #request (instance: Instance, method: string, path: string, user: string): Promise<{ userId?: string | null, set?: boolean } | undefined> {
    this.asked.requests++
    return this.#try(async () => {
      const reply = await fetch(`http://127.0.0.1:${instance.port}${path}`, { method, headers: { cookie: this.#cookies.get(user)! } })
      if (reply.status !== 200) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`)
      return reply.json() as Promise<{ userId?: string | null, set?: boolean }>
    })
  }

  async #try<T> (operation: () => Promise<T>): Promise<T | undefined> {
    try {
      return await operation()
    } catch (err) {
      this.verdict.failures.push((err as Error).message)
      return undefined
    }
  }

  /** Whether it became so: for the verdict. */
  #until (condition: () => boolean | Promise<boolean>): Promise<boolean> {
    return waitFor(condition, { timeoutMs: this.#patienceMs, everyMs: 20 }).catch(() => false)
  }
}

function openClient (t: Scope, connect: Function, address: string, cookie: string, sent: readonly Sent[]): SocketClient {
  const WithCookie = class extends WebSocket { constructor (url: string) { super(url, { headers: { cookie } }) } }
  const socket = connect(address, { WebSocket: WithCookie, minDelayMs: 20, maxDelayMs: 200 })
  const client: SocketClient = { numbers: [], loaded: new Set(), connections: 0, notRecovered: 0, bytes: { right: 0, wrong: 0 }, close: () => socket.close() }
  let hasRecord = false
  socket.on('number', (number: number) => { client.numbers.push(number) })
  socket.on('connected', (data: { recovered: boolean }) => {
    if (client.connections++ > 0 && !data.recovered) {
      // Once: from now on this release knows the client.
      if (hasRecord || !isOfThisRelease(data)) client.notRecovered++
      for (const [kind, number] of sent) if (kind === 'room') client.loaded.add(number)
    }
    hasRecord ||= isOfThisRelease(data)
  })
  socket.on('bytes', (data: unknown) => {
    client.bytes[data instanceof Uint8Array && Buffer.from(data).toString('hex') === 'ff0a5c00' ? 'right' : 'wrong']++
  })
  t.teardown(() => socket.close())
  return client
}

/** The release before does not name the user. */
function isOfThisRelease (data: object): boolean {
  return 'userId' in data
}
