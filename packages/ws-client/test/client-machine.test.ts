import fc from 'fast-check'
import t from 'tap'
import { readRefusal } from '../src/address.ts'
import { connect, type Address, type Client, type ClientOptions, type Status, type StatusDetail } from '../src/client.ts'
import { createClient } from '../src/create-client.ts'
import { environment, type Environment } from '../src/environment.ts'
import type { Refusal } from '../src/machine.ts'
import { encode } from '../src/payload.ts'

interface Told { status: Status, detail: StatusDetail, at: number }

const HEARTBEAT = { everyMs: 30_000, timeoutMs: 5000 }
class FakeSocket {
  readyState = 0
  readonly sent: any[] = []
  readonly url: string
  readonly protocols: string[]
  readonly #listeners = new Map<string, Array<(event: any) => void>>()

  constructor (url: string, protocols: string[] = []) {
    this.url = url
    this.protocols = protocols
  }

  addEventListener (type: string, listener: (event: any) => void): void {
    this.#listeners.set(type, [...this.#listeners.get(type) ?? [], listener])
  }

  /** On a socket of several namespaces a frame may begin with its channel. */
  send (data: string): void { this.sent.push(JSON.parse(data.slice(data.indexOf('{')))) }
  /** As in a browser: nothing more is heard of it for a while. */
  close (): void { this.readyState = 2 }
  emit (type: string, event: object = {}): void { for (const listener of this.#listeners.get(type) ?? []) listener(event) }
  say (frame: object): void { this.emit('message', { data: JSON.stringify(frame) }) }

  open (): void {
    this.readyState = 1
    this.emit('open')
  }

  welcome (data: object = {}): void {
    this.open()
    this.say({ type: 'connected', data: { clientId: 'c', namespace: 'n', recovered: false, offset: 'e.1', heartbeat: HEARTBEAT, reconnectWindowMs: 0, ...data } })
  }

  end (code: number, reason = ''): void {
    this.readyState = 3
    this.emit('close', { code, reason })
  }
}

/** A client with a clock, sockets and chance of the test's own. */
class World {
  readonly sockets: FakeSocket[] = []
  readonly attemptsAt: number[] = []
  readonly told: Told[] = []
  readonly errors: unknown[] = []
  readonly client: Client
  now = 0
  refusal: Refusal | null = null
  probes = 0
  random = 0.5
  /** What chance says first. */
  readonly draws: number[] = []
  wake: () => void = () => {}
  #timers = new Map<number, { at: number, callback: () => void }>()
  #lastTimer = 0

  constructor (options: ClientOptions & { address?: Address } = {}) {
    const { address = 'ws://server/chat', ...rest } = options
    const opened = (socket: FakeSocket): void => {
      this.sockets.push(socket)
      this.attemptsAt.push(this.now)
    }
    const env: Environment = {
      WebSocket: class extends FakeSocket {
        constructor (url: string, protocols: string[]) {
          super(url, protocols)
          opened(this)
        }
      } as never,
      probe: async () => {
        this.probes++
        return this.refusal
      },
      now: () => this.now,
      random: () => this.draws.shift() ?? this.random,
      setTimer: (callback, ms) => {
        this.#timers.set(++this.#lastTimer, { at: this.now + ms, callback })
        return this.#lastTimer
      },
      clearTimer: (handle) => { this.#timers.delete(handle) },
      onWake: (wake) => {
        this.wake = wake
        return () => { this.wake = () => {} }
      }
    }
    this.client = createClient(address, {
      onError: (err) => { this.errors.push(err) },
      ...rest,
      onStatus: (status, detail) => {
        this.told.push({ status, detail, at: this.now })
        rest.onStatus?.(status, detail)
      }
    }, env)
  }

  get socket (): FakeSocket { return this.sockets.at(-1)! }
  get timers (): number { return this.#timers.size }
  get statuses (): Status[] { return this.told.map(({ status }) => status) }

  /** Lets promises settle. */
  async rest (): Promise<void> { for (let turn = 0; turn < 20; turn++) await null }

  /** Lets time pass, timer by timer. `late`: the clock jumps, as over a sleep. */
  async pass (ms: number, late = false): Promise<void> {
    await this.rest()
    const end = this.now + ms
    if (late) this.now = end
    for (;;) {
      const [handle, next] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? []
      if (next === undefined || next.at > end) break
      this.#timers.delete(handle!)
      this.now = Math.max(this.now, next.at)
      next.callback()
      await this.rest()
    }
    this.now = end
  }

  async until (what: () => boolean, withinMs: number): Promise<boolean> {
    const end = this.now + withinMs
    for (;;) {
      await this.rest()
      if (what()) return true
      if (this.now >= end) return false
      await this.pass(Math.max(1, Math.min(end, ...[...this.#timers.values()].map(({ at }) => at)) - this.now))
    }
  }
}

const connected = async (options?: ConstructorParameters<typeof World>[0], welcome?: object): Promise<World> => {
  const world = new World(options)
  await world.rest()
  world.socket.welcome(welcome)
  return world
}

t.test('silence is noticed within ping interval and pong timeout, and what is heard in time is no silence', async (t) => {
  const world = await connected()
  await world.pass(29_999)
  world.socket.say({ type: 'connection:heartbeat' })
  await world.pass(30_000)
  t.same(world.socket.sent, [{ type: 'connection:heartbeat' }], 'asked before it is judged')
  world.socket.say({ type: 'connection:heartbeat' })
  await world.pass(34_999)
  t.equal(world.client.status, 'connected')
  await world.pass(1)
  t.equal(world.client.status, 'reconnecting')
  t.match(world.told.at(-1)!.detail, { code: 1006, reason: /not heard/ })
  t.ok(await world.until(() => world.sockets.length === 2, 1000))
})

t.test('the network comes back or the page is seen: it looks at once', async (t) => {
  const world = await connected()
  await world.pass(1000)
  world.wake()
  t.equal(world.socket.sent.length, 1)
  world.wake()
  t.equal(world.socket.sent.length, 1, 'once')
  await world.pass(5000)
  t.equal(world.client.status, 'reconnecting')
  const away = new World({ maxDelayMs: 600_000, minDelayMs: 600_000 })
  await away.rest()
  away.socket.end(1006)
  await away.pass(2000)
  away.wake()
  t.ok(await away.until(() => away.sockets.length === 2, 1), 'not after the pause')
})

t.test('after a stall of the event loop, what came meanwhile is read before the connection counts as lost', async (t) => {
  const world = await connected()
  await world.pass(30_000)
  await world.pass(3_600_000, true)
  t.equal(world.client.status, 'connected', 'asks once more')
  world.socket.say({ type: 'connection:heartbeat' })
  await world.pass(30_000)
  t.equal(world.client.status, 'connected')
  await world.pass(3_600_000, true)
  await world.pass(5000)
  t.equal(world.client.status, 'reconnecting', 'but only once')
})

t.test('every step has a deadline', async (t) => {
  const hanging: Array<[what: string, world: World, before: (world: World) => void, ms: number]> = [
    ['the address', new World({ address: () => new Promise(() => {}) }), () => {}, 10_000],
    ['the handshake', new World(), () => {}, 10_000],
    ['the first frame', new World(), ({ socket }) => socket.open(), 20_000]
  ]
  for (const [what, world, before, ms] of hanging) {
    await world.rest()
    before(world)
    await world.pass(ms - 1)
    t.equal(world.client.status, 'connecting', what)
    await world.pass(1)
    t.equal(world.client.status, 'reconnecting', what)
  }
})

t.test('an error without a close, a class that throws, an address that rejects: each is a failed attempt', async (t) => {
  const world = new World()
  await world.rest()
  world.socket.emit('error', { message: 'refused' })
  t.ok(await world.until(() => world.sockets.length === 2, 1000), 'after an error')
  world.socket.emit('error')
  world.socket.end(1006)
  t.ok(await world.until(() => world.sockets.length === 3, 1000), 'both count once')
  let calls = 0
  const broken = new World({ address: async () => { if (++calls < 3) throw new Error('no token'); return 'ws://server/chat' } })
  t.ok(await broken.until(() => broken.sockets.length === 1, 5000))
  t.equal(broken.errors.length, 2)
  // In Node what nothing catches ends the process: an outage of who gives the tokens must not.
  const quiet = new World({ token: async () => { throw new Error('no token') }, onError: undefined as never })
  t.ok(await quiet.until(() => quiet.told.length === 1, 1000))
  t.match(quiet.told[0], { status: 'reconnecting', detail: { reason: 'Error: no token' } })
  quiet.client.close()
  class Throwing { constructor () { throw new Error('blocked') } }
  const blocked = new World({ WebSocket: Throwing as never })
  await blocked.pass(60_000)
  t.ok(blocked.errors.length > 5 && blocked.errors.length < 30, `${blocked.errors.length} attempts in a minute`)
})

t.test('the pause grows until a connection was stable, and at once after what the client did wrong', async (t) => {
  const world = new World()
  world.random = 1
  const pause = async (code: number, heldMs = 0): Promise<number> => {
    await world.until(() => world.socket?.readyState === 0, 60_000)
    world.socket.welcome()
    await world.pass(heldMs)
    const [count, at] = [world.sockets.length, world.now]
    world.socket.end(code)
    await world.until(() => world.sockets.length > count, 60_000)
    return world.now - at
  }
  t.same([await pause(1006), await pause(1006), await pause(1006), await pause(1006)], [250, 500, 1000, 2000])
  t.equal(await pause(1006, 10_000), 250, 'stable')
  t.same([await pause(4429, 10_000), await pause(4429), await pause(1009), await pause(1013)], [2000, 4000, 8000, 10_000])
  const storm = new World()
  for (let joined = 0; storm.now < 10_000 && joined < 1000; joined++) {
    await storm.until(() => storm.socket?.readyState === 0, 20_000)
    storm.socket.welcome()
    storm.socket.end(4429)
  }
  t.ok(storm.attemptsAt.filter((at) => at < 10_000).length <= 6, `${storm.attemptsAt.length} connections in 10 s`)
})

t.test('who comes back after a worker died comes at any time within the window that the server names', async (t) => {
  const at: number[] = []
  for (let n = 0; n < 2000; n++) {
    const world = await connected({}, { reconnectWindowMs: 2000 })
    world.random = Math.random()
    world.socket.end(1006)
    await world.until(() => world.sockets.length === 2, 3000)
    at.push(world.now)
  }
  const busiest = Math.max(...Array.from({ length: 21 }, (_, slot) => at.filter((one) => Math.floor(one / 100) === slot).length))
  t.ok(busiest < 0.15 * 2000, `the busiest 100 ms hold ${busiest} of 2000`)
})

t.test('only what a server of namespaces says is final; a way in that is asked for anew is tried once more', async (t) => {
  const answers: Array<[what: string, status: number, body: string, isFinal: boolean]> = [
    ['nobody', 401, '{"success":false,"error":"Please log in","code":"FST_ERR_WS_NAMESPACES_UNAUTHORIZED","statusCode":401}', true],
    ['by the release before', 403, '{"success":false,"error":"You may not use this","code":"FORBIDDEN","statusCode":403}', true],
    ['a proxy', 403, '<html>Access denied', false],
    ['JSON of a proxy', 403, '{"error":"denied"}', false],
    ['another status inside', 403, '{"success":false,"code":"X","statusCode":401}', false],
    ['unknown', 404, '{"success":false,"error":"no","code":"FST_ERR_WS_NAMESPACES_NOT_FOUND","statusCode":404}', false],
    ['too many', 429, '{"success":false,"error":"no","code":"FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS","statusCode":429}', false]
  ]
  for (const [what, httpStatus, body, isFinal] of answers) {
    const world = new World()
    world.refusal = readRefusal(httpStatus, body)
    await world.rest()
    world.socket.end(1006)
    await world.rest()
    t.equal(world.client.status, isFinal ? 'auth-required' : 'reconnecting', what)
    t.match(world.told.at(-1)!.detail, { httpStatus, code: 1006, reason: String }, what)
    if (!isFinal) t.ok(await world.until(() => world.sockets.length === 2, 1000), what)
    else t.equal(world.timers, 0, 'nothing is left')
  }
  const missing = new World()
  missing.refusal = readRefusal(404, '{"success":false,"error":"There is no such namespace","code":"FST_ERR_WS_NAMESPACES_NOT_FOUND","statusCode":404}')
  const settled = t.rejects(missing.client.ready, { code: 'NOT_FOUND', message: 'There is no such namespace' })
  await missing.rest()
  missing.socket.end(1006)
  await settled
  await missing.until(() => missing.sockets.length === 2, 1000)
  missing.socket.welcome()
  t.equal(missing.client.status, 'connected', 'a deploy brought it')
  let token = 0
  const renewed = await connected({ address: async () => `ws://server/chat?token=${++token}` })
  renewed.socket.end(4401, 'session ended')
  t.match(renewed.told.at(-1), { status: 'reconnecting', detail: { code: 4401, reason: 'session ended' } })
  await renewed.until(() => renewed.sockets.length === 2, 1000)
  t.match(renewed.socket.url, /token=2/)
  renewed.socket.end(4401)
  t.equal(renewed.client.status, 'auth-required', 'a new one was refused, too')
  const out = await connected({ address: async () => 'ws://server/chat' })
  out.socket.end(4403)
  t.equal(out.client.status, 'auth-required', 'put out by the application')
  await t.rejects(renewed.client.request('x'), { code: 'NOT_CONNECTED' })
})

t.test('a Retry-After is kept, whatever wakes the client, and those who were told the same come back apart', async (t) => {
  const pauses: number[] = []
  for (const random of [0, 1]) {
    const world = new World({ minDelayMs: 1000 })
    world.random = random
    world.refusal = readRefusal(429, '{"statusCode":429,"code":"FST_ERR_RATE_LIMIT"}', '30')
    await world.rest()
    world.socket.end(1006)
    await world.rest()
    t.match(world.told.at(-1), { status: 'reconnecting', detail: { httpStatus: 429 } })
    for (let second = 0; second < 29; second++) {
      world.wake()
      await world.pass(1000)
    }
    t.equal(world.sockets.length, 1, 'not before')
    t.ok(await world.until(() => world.sockets.length === 2, 3000))
    pauses.push(world.attemptsAt[1]!)
    // What holds is what was said last.
    world.socket.open()
    world.socket.end(1006)
    await world.pass(2000)
    t.ok(await world.until(() => world.sockets.length === 3, 1000), 'and only once')
    world.client.close()
  }
  t.ok(pauses[0]! >= 30_000 && pauses[1]! > pauses[0]! + 800, String(pauses))
  // A day would look like a client that is broken; what is no number of seconds is none.
  for (const [header, mostMs] of [['86400', 610_000], ['Wed, 21 Oct 2037 07:28:00 GMT', 10_000], ['-5', 10_000], ['', 10_000], ['x', 10_000], [null, 10_000], [undefined, 10_000]] as const) {
    const world = new World()
    world.refusal = readRefusal(503, '', header)
    await world.rest()
    world.socket.end(1006)
    t.ok(await world.until(() => world.sockets.length === 2, mostMs), String(header))
    t.ok(world.attemptsAt[1]! > 0, 'never without a pause')
    world.client.close()
  }
})

t.test('what is sent before the first connection waits, in order and bounded, over attempts that fail', async (t) => {
  const world = new World({ maxWaiting: 4 })
  t.ok(world.client.send('a', 1))
  const late = t.rejects(world.client.request('slow', 2, { timeoutMs: 1 }), { code: 'REQUEST_TIMEOUT' })
  const asked = world.client.request('b', 3)
  t.ok(world.client.send('c', 4))
  t.notOk(world.client.send('d', 5), 'bounded')
  await t.rejects(world.client.request('e'), { code: 'NOT_CONNECTED' })
  await world.pass(1)
  await late
  await world.rest()
  world.socket.end(1006)
  await world.until(() => world.sockets.length === 2, 1000)
  world.client.on('connected', () => { world.client.send('f') })
  world.socket.welcome()
  t.same(world.socket.sent.map(({ type }) => type), ['a', 'b', 'c', 'f'], 'what was given up meanwhile is not sent')
  world.socket.say({ type: 'b', data: 'answer', replyTo: world.socket.sent[1].id })
  t.equal(await asked, 'answer')
  t.equal((await world.client.ready).clientId, 'c')
  world.socket.end(1006)
  t.notOk(world.client.send('g'), 'later nothing is kept')
  const never = new World()
  const gone = t.rejects(never.client.ready, { code: 'NOT_CONNECTED', message: /connection: closed/ })
  const waiting = t.rejects(never.client.request('x'), { code: 'NOT_CONNECTED' })
  never.client.close()
  await Promise.all([gone, waiting])
})

t.test('a namespace whose options are undefined has those of its socket', async (t) => {
  const world = new World({ maxWaiting: 2 })
  for (const options of [undefined, {}, { maxWaiting: undefined, queue: undefined, onError: undefined, onStatus: undefined }]) {
    const namespace = world.client.namespace(`n${world.errors.length}`, options)
    t.same([1, 2, 3].map((data) => namespace.send('x', data)), [true, true, false])
    namespace.onStatus(() => { throw new Error('of the namespace') })
    namespace.close()
    await world.rest()
  }
  t.equal(world.errors.length, 3)
  t.same([1, 2].map((data) => world.client.namespace('own', { maxWaiting: 1 }).send('x', data)), [true, false])
  world.client.close()
})

t.test('namespaces on one socket end as it ended, and say why', async (t) => {
  const told: Array<[Status, StatusDetail]> = []
  const world = new World()
  world.refusal = readRefusal(401, '{"success":false,"error":"Please log in","code":"FST_ERR_WS_NAMESPACES_UNAUTHORIZED","statusCode":401}')
  const space = world.client.namespace('chat', { onStatus: (status, detail) => { told.push([status, detail]) } })
  const refused = t.rejects(space.ready, { code: 'NOT_CONNECTED', message: 'no connection: Please log in' })
  await world.rest()
  world.socket.end(1006)
  await world.rest()
  t.match(told, [['auth-required', { httpStatus: 401, reason: 'Please log in' }]])
  await refused
  t.equal(world.client.namespace('later').status, 'auth-required')
  t.equal(world.timers, 0)

  const open = await connected({})
  const other = open.client.namespace('chat', { onStatus: (status) => { told.push([status, {}]) } })
  told.length = 0
  open.client.close()
  await open.rest()
  t.same(told, [['disconnected', {}]], 'not reconnecting before')
  t.equal(other.status, 'disconnected')
  t.equal(open.client.namespace('later').status, 'disconnected')
  const queueing = await connected({ queue: { maxMessages: 1 } })
  const isFull = (queue: undefined | false): boolean => {
    const one = queueing.client.namespace(`n${queue}`, { queue })
    return one.send('x') && !one.send('y')
  }
  t.same([isFull(undefined), isFull(false)], [true, false], 'what is undefined is as the socket has it')
  queueing.client.close()
})

/** A socket of several namespaces that stands. */
const connectedSeveral = (options?: ConstructorParameters<typeof World>[0]): Promise<World> => connected(options, { namespace: undefined, reconnectWindowMs: 2000 })
const opens = (socket: FakeSocket, path: string): any[] => socket.sent.filter((frame) => frame.type === 'open' && frame.path.startsWith(path))

/** Lets a namespace in whose client asked last. */
function letIn (socket: FakeSocket, path: string): void {
  const { id } = opens(socket, path).at(-1)
  socket.say({ type: 'opened', id, channel: id })
  socket.emit('message', { data: `${id}{"type":"connected","data":{"clientId":"${path}","namespace":"${path}","recovered":false,"offset":null,"reconnectWindowMs":2000}}` })
}

t.test('when a socket is back so are its namespaces, at once; only one that the server closed keeps a pause of its own', async (t) => {
  const world = await connectedSeveral()
  const [chat, feed, greedy] = ['chat', 'feed', 'greedy'].map((name) => world.client.namespace(name)) as [Client, Client, Client]
  await world.rest()
  for (const name of ['chat', 'feed', 'greedy']) letIn(world.socket, name)
  await world.pass(20_000)
  t.same([chat.status, feed.status, greedy.status], ['connected', 'connected', 'connected'])
  world.socket.say({ type: 'closed', id: opens(world.socket, 'greedy')[0].id, code: 4429, reason: 'too many messages' })
  // The socket comes back first, the pause of one namespace ends before that, those of the others after it.
  world.draws.push(0.5, 0, 1, 1)
  world.socket.end(1006)
  await world.rest()
  t.same([chat.status, feed.status], ['reconnecting', 'reconnecting'])
  t.ok(await world.until(() => world.sockets.length === 2, 3000))
  const back = world.now
  world.socket.welcome({ namespace: undefined, reconnectWindowMs: 2000 })
  await world.pass(0)
  t.same([opens(world.socket, 'chat').length, opens(world.socket, 'feed').length, opens(world.socket, 'greedy').length], [1, 1, 0])
  t.equal(world.now, back)
  for (const name of ['chat', 'feed']) letIn(world.socket, name)
  t.same([chat.status, feed.status, greedy.status], ['connected', 'connected', 'reconnecting'])
  t.ok(await world.until(() => opens(world.socket, 'greedy').length === 1, 3000))
})

t.test('namespaces of a socket never storm, in whatever order it breaks, comes back, and the server closes them', async (t) => {
  const event = fc.tuple(fc.constantFrom('break', 'back', 'let in', 'closed', 'refused', 'wake'), fc.nat(400))
  await fc.assert(fc.asyncProperty(fc.array(event, { minLength: 40, maxLength: 120 }), async (events) => {
    const world = await connectedSeveral()
    const chat = world.client.namespace('chat')
    const at: number[] = []
    let known = 0
    for (const [what, ms] of events) {
      await world.rest()
      const { socket } = world
      const last = opens(socket, 'chat').at(-1)
      if (what === 'break') socket.end(1006)
      else if (what === 'back' && socket.readyState === 0) socket.welcome({ namespace: undefined, reconnectWindowMs: 0 })
      else if (what === 'wake') world.wake()
      else if (last !== undefined && socket.readyState === 1) {
        if (what === 'let in') letIn(socket, 'chat')
        else if (what === 'closed') socket.say({ type: 'closed', id: last.id, code: 1001, reason: '' })
        else if (what === 'refused') socket.say({ type: 'closed', id: last.id, code: 4503, reason: '' })
      }
      await world.pass(ms)
      const asked = world.sockets.reduce((sum, { sent }) => sum + sent.filter(({ type }) => type === 'open').length, 0)
      for (; known < asked; known++) at.push(world.now)
    }
    if (at.some((from) => at.filter((one) => one >= from && one < from + 10_000).length > 30)) return false
    // From now on there is a server.
    world.random = 1
    for (const end = world.now + 60_000; world.now < end && chat.status !== 'connected'; await world.pass(100)) {
      if (world.socket.readyState === 0) world.socket.welcome({ namespace: undefined, reconnectWindowMs: 0 })
      else if (opens(world.socket, 'chat').length > 0) letIn(world.socket, 'chat')
    }
    return chat.status === 'connected'
  }), { numRuns: 50 })
  t.pass()
})

t.test('an address that is none is a typed error that names the cure, at once or as the reason of the status', async (t) => {
  for (const address of ['/api/1/ws/chat', 'chat', '', 'http://[', 'localhost:3000', 'web:3000/chat', 'w:1', 's:1', 'file:///chat', 'ftp://server/chat']) t.throws(() => connect(address, { WebSocket: FakeSocket as never }), { code: 'INVALID_ADDRESS', message: `begin with ws://: ${address}`, name: 'ClientError' }, address)
  const world = new World({ address: async () => '/chat' })
  await world.rest()
  t.match(world.told, [{ status: 'reconnecting', detail: { code: 1006, reason: 'ClientError: begin with ws://: /chat' } }])
  t.match(world.errors, [{ code: 'INVALID_ADDRESS' }])
})

t.test('bytes of any length go after the JSON of their message', (t) => {
  for (const length of [0, 1, 70_000]) {
    const payload = encode({ type: 'é', data: new Uint8Array(length).fill(200) }) as Uint8Array
    t.equal(Buffer.from(payload.buffer, 0, 14).toString('utf8').split('\n')[0], '{"type":"é"}')
    t.same([payload.length, payload.indexOf(10), payload.at(length > 0 ? -1 : 13)], [14 + length, 13, length > 0 ? 200 : 10])
  }
  t.end()
})

t.test('no token is none, and no number of attempts or milliseconds is too much', async (t) => {
  for (const token of ['', null, undefined, 'x']) {
    const world = new World({ token: () => token })
    await world.rest()
    t.same(world.socket.protocols, token ? ['jpulse', 'bearer.x'] : [], String(token))
  }
  const eager = new World({ minDelayMs: 0 })
  for (let attempt = 1; attempt < 1100; attempt++) {
    await eager.rest()
    eager.socket.end(1006)
    await eager.rest()
    await eager.pass(0)
  }
  t.ok(eager.sockets.length > 1090, `${eager.sockets.length} attempts`)
  const late: string[] = []
  const patient = await connected({})
  patient.client.request('x', 1, { timeoutMs: Infinity }).catch((err: Error) => { late.push(err.message) })
  const handle = environment.setTimer(() => { late.push('rang') }, Infinity)
  await new Promise((resolve) => { setTimeout(resolve, 20) })
  t.same(late, [])
  environment.clearTimer(handle)
  patient.client.close()
})

t.test('a frame `connected` of another kind of server is ignored', async (t) => {
  const world = new World()
  await world.rest()
  world.socket.open()
  for (const data of ['no JSON', 'null', '5', '"text"', '{"type":"connected"}']) t.doesNotThrow(() => world.socket.emit('message', { data }), data)
  t.equal(world.client.status, 'connecting')
  world.socket.welcome()
  t.equal(world.client.status, 'connected')
  t.doesNotThrow(() => world.socket.emit('message', { data: 'null' }))
  world.client.close()
})

t.test('callbacks that throw or call back change nothing', async (t) => {
  const world = new World({
    onStatus: (status) => {
      if (status === 'reconnecting') world.client.send('from within')
      throw new Error(`of ${status}`)
    },
    onError: (err) => { world.errors.push(err) }
  })
  await world.rest()
  world.socket.welcome()
  world.socket.end(1006)
  t.ok(await world.until(() => world.sockets.length === 2, 1000))
  world.socket.welcome()
  t.equal(world.client.status, 'connected')
  await world.rest()
  t.same(world.errors.map((err) => (err as Error).message), ['of connected', 'of reconnecting', 'of connected'])
  const closing = await connected({ onStatus: (status) => { if (status === 'reconnecting') closing.client.close() } })
  closing.socket.end(1006)
  await closing.pass(60_000)
  t.same([closing.statuses, closing.sockets.length, closing.timers], [['connected', 'reconnecting', 'disconnected'], 1, 0])
})

const happening = fc.oneof(
  fc.constantFrom('open', 'welcome', 'old server', 'error', 'error and close', 'say', 'heartbeat', 'garbage', 'wake', 'old socket', 'throw', 'refused by a proxy', 'request', 'nothing'),
  fc.tuple(fc.constant('pass'), fc.constantFrom(1, 100, 1000, 5000, 30_000, 120_000)),
  fc.tuple(fc.constant('sleep'), fc.constantFrom(10_000, 600_000)),
  fc.tuple(fc.constant('close'), fc.constantFrom(1000, 1001, 1006, 1009, 1011, 1013, 4408, 4429, 4999))
)

t.test('whatever happens in whatever order: it never storms, and is connected when a server is there', async (t) => {
  await fc.assert(fc.asyncProperty(fc.array(happening, { maxLength: 40 }), fc.double({ min: 0, max: 1, noNaN: true }), async (happenings, random) => {
    let isThrowing = false
    const world = new World({ onStatus: () => { if (isThrowing) throw new Error('of the application') } })
    world.random = random
    const requests: Array<Promise<unknown>> = []
    await world.rest()
    for (const one of happenings) {
      const [what, value] = Array.isArray(one) ? one as [string, number] : [one, 0]
      const socket = world.socket
      if (what === 'pass') await world.pass(value)
      else if (what === 'sleep') await world.pass(value, true)
      else if (what === 'open') socket.open()
      else if (what === 'welcome') socket.welcome()
      else if (what === 'old server') socket.welcome({ heartbeat: undefined, reconnectWindowMs: undefined })
      else if (what === 'error') socket.emit('error')
      else if (what === 'close') socket.end(value)
      else if (what === 'error and close') { socket.emit('error'); socket.end(1006) } else if (what === 'say') socket.say({ type: 'x', data: 1 })
      else if (what === 'heartbeat') socket.say({ type: 'connection:heartbeat' })
      else if (what === 'garbage') socket.emit('message', { data: '{' })
      else if (what === 'wake') world.wake()
      else if (what === 'old socket') { world.sockets[0]!.end(4401); world.sockets[0]!.say({ type: 'connected', data: { clientId: 'old', recovered: false, offset: null } }) } else if (what === 'throw') isThrowing = !isThrowing
      else if (what === 'refused by a proxy') world.refusal = readRefusal(403, '<html>')
      else if (what === 'request') requests.push(world.client.request('x', 1, { timeoutMs: 1 }).catch(() => {}))
      await world.rest()
    }
    // The first socket is still the last one: what was told to it was told to this connection.
    if (world.client.status === 'auth-required') return world.timers === 0
    for (const at of world.attemptsAt) {
      if (world.attemptsAt.filter((one) => one >= at && one < at + 10_000).length > 60 && random > 0.2) return false
    }
    // From now on a server answers.
    world.random = 1
    const end = world.now + 60_000
    while (world.now < end && world.client.status !== 'connected') {
      if (world.socket.readyState === 0) world.socket.welcome()
      await world.pass(100)
    }
    await world.pass(1)
    await Promise.all(requests)
    return world.client.status === 'connected' && world.client.send('y')
  }), { numRuns: 1000 })
  t.pass()
})

t.test('attempts in any ten seconds are bounded, however the network and the page flicker', async (t) => {
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('wake', 'lost', 'welcome then lost', 'error'), fc.nat(300)), { minLength: 100, maxLength: 300 }), async (happenings) => {
    const world = new World()
    world.random = 0
    for (const [what, ms] of happenings) {
      await world.rest()
      if (what === 'wake') world.wake()
      else if (world.socket.readyState !== 3) {
        if (what === 'welcome then lost') world.socket.welcome()
        if (what === 'error') world.socket.emit('error')
        world.socket.end(1006)
      }
      await world.pass(ms)
    }
    return world.attemptsAt.every((at) => world.attemptsAt.filter((one) => one >= at && one < at + 10_000).length <= 20)
  }), { numRuns: 100 })
  t.pass()
})

t.test('a queue: what is sent waits, and is sent again until it is answered; bounded, in order, and with the credentials of the same user', async (t) => {
  const world = await connected({ queue: { maxMessages: 3, maxBytes: 200 } }, { userId: 'ann', onceMs: 60_000, limits: { messages: 4, windowMs: 1000 } })
  const comeBack = async (welcome: object): Promise<void> => {
    const count = world.sockets.length
    world.socket.end(1006)
    await world.until(() => world.sockets.length > count, 60_000)
    world.socket.welcome({ userId: 'ann', onceMs: 60_000, limits: { messages: 4, windowMs: 1000 }, ...welcome })
  }
  const ids = () => world.socket.sent.filter(({ once }) => once === true).map(({ id }) => Number(id))
  const errors: string[] = []
  world.client.on('error', (_data, { error }) => { errors.push(error!.code) })
  t.ok(world.client.send('leave', 1), 'any type')
  const asked = world.client.request('b', 2, { timeoutMs: 600_000 })
  t.same(ids(), [1, 2], 'half of the limit')
  t.ok(world.client.send('c', 3))
  t.notOk(world.client.send('d', 4), 'as many as may wait')
  await t.rejects(world.client.request('e'), { code: 'QUEUE_FULL' })
  t.same(ids(), [1, 2])
  await world.pass(1000)
  t.same(ids(), [1, 2, 3])
  world.socket.say({ type: 'error', error: { code: 'NO_REPLY', message: '' }, replyTo: '1' })
  await comeBack({})
  t.same(ids(), [2, 3], 'what was answered is not sent again')
  world.socket.say({ type: 'b', data: 'answer', replyTo: '2' })
  t.equal(await asked, 'answer')
  t.notOk(world.client.send('f', 'x'.repeat(200)), 'too many bytes')
  await comeBack({ onceMs: undefined })
  t.same([ids(), errors], [[], ['OUTCOME_UNKNOWN']], 'an older server would do it again')
  t.ok(world.client.send('g'))
  await comeBack({ userId: 'bo' })
  t.same([ids(), errors], [[], ['OUTCOME_UNKNOWN', 'USER_CHANGED']])
  const room = world.client.join('r')
  t.match(world.socket.sent.at(-1), { type: 'join', once: undefined })
  world.socket.say({ type: 'join', replyTo: world.socket.sent.at(-1).id })
  await room
  const given = await connected({ queue: { maxMessages: undefined } })
  t.same([Array.from({ length: 101 }, () => given.client.send('x')).indexOf(false), given.client.send('x')], [100, false], 'what is undefined is at its default')
  const last = t.rejects(world.client.request('h'), { code: 'NOT_CONNECTED' })
  world.client.close()
  await last
  t.equal(world.timers, 0, 'nothing is left')
})

t.test('a queue, over any order of events: a server does each message once, in order, and none is missing', async (t) => {
  const event = fc.oneof(fc.constantFrom('send', 'request', 'answer', 'answer', 'lost answer', 'end', 'come', 'wake', 'expiring', 'throw'), fc.tuple(fc.constant('pass'), fc.constantFrom(10, 500, 3000)))
  await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
    let isThrowing = false
    const world = new World({
      queue: { maxMessages: 200 },
      token: async () => {
        if (isThrowing) throw new Error('no token')
        return 'token'
      },
      onStatus: () => { if (isThrowing) throw new Error('of the application') }
    })
    const [done, read] = [new Set<number>(), new Map<FakeSocket, number>()]
    const order: number[] = []
    const settled: Array<Promise<unknown>> = []
    let [count, answered] = [0, 0]
    const welcome = { userId: 'ann', onceMs: 600_000, limits: { messages: 20, windowMs: 100 } }
    // Reads one message of the socket that stands, or stood, and answers it.
    const serve = (isAnswered: boolean): boolean => {
      const socket = world.socket as FakeSocket | undefined
      if (socket === undefined) return false
      const index = read.get(socket) ?? 0
      const frame = socket.sent[index]
      if (frame === undefined) return false
      read.set(socket, index + 1)
      if (frame.once !== true) return true
      if (!done.has(Number(frame.id))) order.push(Number(frame.id))
      done.add(Number(frame.id))
      if (isAnswered && socket.readyState === 1) socket.say({ type: frame.type, data: frame.data, replyTo: frame.id })
      return true
    }
    for (const one of events) {
      const [what, value] = Array.isArray(one) ? one as [string, number] : [one, 0]
      await world.rest()
      if (what === 'send' && world.client.send('s', ++count) === false) return false
      if (what === 'request') settled.push(world.client.request('r', ++count, { timeoutMs: 60_000 }).then(() => { answered++ }))
      if (what === 'answer') serve(true)
      if (what === 'lost answer') serve(false)
      if ((what === 'end' || what === 'lost answer') && world.socket?.readyState === 1) world.socket.end(1006)
      if (what === 'come' && world.socket?.readyState === 0) world.socket.welcome(welcome)
      if (what === 'wake') world.wake()
      if (what === 'expiring' && world.socket?.readyState === 1) world.socket.say({ type: 'connection:expiring', data: {} })
      if (what === 'throw') isThrowing = !isThrowing
      if (what === 'pass') await world.pass(value)
    }
    isThrowing = false
    for (let turn = 0; turn < 3000 && (done.size < count || answered < settled.length); turn++) {
      await world.pass(20)
      if (world.socket?.readyState === 0) world.socket.welcome(welcome)
      while (serve(true)) await world.rest()
    }
    const isDone = answered === settled.length
    world.client.close()
    await Promise.allSettled(settled)
    return isDone && order.join() === Array.from({ length: count }, (_, index) => index + 1).join()
  }), { numRuns: 300 })
  t.pass()
})
