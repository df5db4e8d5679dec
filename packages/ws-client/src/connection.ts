import { socketUrl } from './address.ts'
import type { Environment } from './environment.ts'
import { ABNORMAL, createMachine, type Effects, type Event, type Liveness } from './machine.ts'
import { openSocket } from './open-socket.ts'
import type { Payload } from './payload.ts'
import type { Address, ClientOptions, Status, StatusDetail, WebSocketLike } from './types.ts'
import { HEARTBEAT } from './wire.ts'

const OPEN = 1
const CONNECT_TIMEOUT_MS = 10_000

/** Who uses a connection. */
export interface ConnectionOwner {
  /** Adds what the server has to know to the address. */
  address (query: URLSearchParams): void
  /** What `decode` takes. */
  heard (data: any): void
  /** The connection broke. */
  lost (): void
  status (status: Status, detail: StatusDetail): void
  /** The server knows no such namespace. */
  missing (reason: string): void
  /** There will be none any more. */
  ended (status: Status, detail: StatusDetail): void
  report (err: unknown): void
}

/** A WebSocket, and the next one when it breaks. */
export interface Connection {
  readonly status: Status
  /** False where there is none. */
  push (payload: Payload): boolean
  /** The server said that it is ready. */
  welcomed (liveness?: Liveness, windowMs?: number): void
  /** For good; closed by the client, unless it is said otherwise. */
  end (status?: Status, detail?: StatusDetail): void
}

/** Carries out what the machine decides. @throws ClientError where the address is none, TypeError where there is no WebSocket here */
export function createConnection (address: Address, options: ClientOptions, env: Environment, owner: ConnectionOwner): Connection {
  const { connectTimeoutMs = CONNECT_TIMEOUT_MS, protocols, token, WebSocket = env.WebSocket } = options
  if (!WebSocket) throw new TypeError('pass ws as WebSocket')
  // Throws at once where a given address is malformed; that of a function is known later.
  if (typeof address === 'string') socketUrl(address)
  const machine = createMachine({
    ...options,
    connectTimeoutMs,
    isRenewable: [address, protocols, token].some((one) => typeof one === 'function'),
    random: env.random
  })
  let url: string | undefined
  let bearer: string | null | undefined
  let socket: WebSocketLike | null = null
  let timer: unknown = null
  let ringsAt = 0

  /** The machine has its new state before effects run: a callback that calls back meets that. */
  const dispatch = (...event: Event): void => {
    const effects = machine.on(env.now(), ...event)
    arm()
    for (const [type, ...rest] of effects) (run[type] as (...rest: unknown[]) => void)(...rest)
  }

  /** One timer. It may fire early: what is heard moves the deadline, not the timer. */
  const arm = (): void => {
    const { deadline } = machine
    if (timer && deadline < Infinity && ringsAt <= deadline) return
    env.clearTimer(timer)
    timer = null
    if (deadline === Infinity) return
    ringsAt = deadline
    timer = env.setTimer(() => {
      timer = null
      dispatch('time')
    }, Math.max(0, deadline - env.now()))
  }

  const push = (payload: Payload): boolean => {
    if (socket?.readyState !== OPEN) return false
    socket.send(payload)
    return true
  }

  const run: Effects = {
    ...owner,
    async open () {
      const { attempt } = machine
      url = undefined
      try {
        const target = socketUrl(await given(address))
        const own = [await given(protocols) ?? []].flat()
        const secret = await given(token)
        if (attempt !== machine.attempt) return
        url = target.href
        bearer = secret
        owner.address(target.searchParams)
        // The server accepts the first subprotocol, so the secret must not be first: it would be in the response.
        const offered = secret ? [...own[0] ? own : ['jpulse'], `bearer.${encodeURIComponent(secret).replace(/[()]/g, escape)}`] : own
        socket = openSocket(WebSocket, target.href, offered, (data) => {
          if (attempt !== machine.attempt) return
          dispatch('heard', attempt)
          owner.heard(data)
        }, (type, ...rest) => dispatch(...[type, attempt, ...rest] as unknown as Event))
      } catch (err) {
        owner.report(err)
        dispatch('lost', attempt, ABNORMAL, String(err))
      }
    },
    async probe () { dispatch('probed', machine.attempt, url ? await env.probe(url, connectTimeoutMs, bearer) : null) },
    ask () { push(`{"type":"${HEARTBEAT}"}`) },
    abandon () {
      const old = socket
      socket = null
      try {
        old?.close(1000)
      } catch {
        // It was closed already.
      }
      owner.lost()
    },
    end (status, detail) {
      unlisten()
      owner.ended(status, detail)
    }
  }

  const unlisten = env.onWake(() => dispatch('wake'))
  dispatch('time')
  return {
    get status () { return machine.status },
    push,
    welcomed: (liveness, windowMs) => dispatch('welcomed', machine.attempt, liveness, windowMs),
    end: (status = 'disconnected', detail = { code: 1000, reason: 'closed' }) => dispatch('close', undefined, status, detail)
  }
}

/** What an option says, or its function. */
export async function given<T> (value: T | (() => T | Promise<T>)): Promise<T> {
  return typeof value === 'function' ? (value as () => T | Promise<T>)() : value
}
