import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { answers, failures, prepareScope } from '@jpulse/plugin-kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { Type } from 'typebox'
import type { Socket } from '../delivery/socket.ts'
import { FST_ERR_WS_NAMESPACES_NOT_FOUND, FST_ERR_WS_NAMESPACES_UPGRADE_REQUIRED } from '../errors.ts'
import { Multiplex, type MultiplexParts } from './multiplex.ts'
import { serveSingle } from './single.ts'
import type { Slot } from './slot.ts'

const kSlot = Symbol('ws-namespaces.slot')

interface WithSlot { [kSlot]?: { slot: Slot, onLost: () => void } }

interface MaybeUpgrade { ws?: boolean }

/** Answers plain requests of a path, where it is one that it knows; null elsewhere. */
export type PlainRoute = (path: string) => ((request: FastifyRequest, reply: FastifyReply) => Promise<void>) | null

/** One route for all namespaces: routes cannot be added once the server listens, namespaces can. */
export async function upgradeRoute (scope: FastifyInstance, parts: MultiplexParts, plain: PlainRoute | null): Promise<void> {
  const { gate } = parts
  prepareScope(scope, 'FST_ERR_WS_NAMESPACES')
  scope.route({
    method: 'GET',
    url: '/*',
    schema: { description: 'A WebSocket of one namespace; without the upgrade, why it would be refused.', response: answers(Type.Unknown()) },
    // Plain requests pass the same checks, so that a page can ask why its WebSocket did not open.
    preHandler: async (request: FastifyRequest, reply: FastifyReply) => {
      const path = pathOf(request)
      const isUpgrade = (request as MaybeUpgrade).ws === true
      const answer = isUpgrade ? null : plain?.(path) ?? null
      if (answer !== null) return answer(request, reply)
      const admitted = await gate.admit(request, path)
      if (!isUpgrade) throw upgradeRequired()
      holdSlot(request, await gate.take(admitted, textOf((request.query as Record<string, unknown>).clientId)))
    },
    handler: async () => { throw upgradeRequired() },
    wsHandler: (socket: object, request: FastifyRequest) => {
      const { slot, onLost } = (request as WithSlot)[kSlot]!
      const { offset, clientId, heartbeat } = request.query as Record<string, unknown>
      const ws = socket as Socket
      releaseUpgrade(ws, onLost)
      serveSingle(parts, ws, slot, { offset: textOf(offset), clientId: textOf(clientId) }, heartbeat === '1')
    }
  } as unknown as RouteOptions)
}

/** The route of sockets of several namespaces. */
export async function multiplexRoute (scope: FastifyInstance, parts: MultiplexParts): Promise<void> {
  prepareScope(scope, 'FST_ERR_WS_NAMESPACES')
  scope.route({
    method: 'GET',
    url: '',
    schema: { description: 'A WebSocket of several namespaces; without the upgrade, why it would be refused.', response: failures },
    preHandler: async (request: FastifyRequest) => {
      parts.gate.admitSocket(request)
      if ((request as MaybeUpgrade).ws !== true) throw upgradeRequired()
    },
    handler: async () => { throw upgradeRequired() },
    wsHandler: (socket: object, request: FastifyRequest) => {
      const ws = socket as Socket
      releaseUpgrade(ws, () => {})
      new Multiplex(ws, request, parts, (request.query as Record<string, unknown>).heartbeat === '1').start()
    }
  } as unknown as RouteOptions)
}

function upgradeRequired (): Error {
  return Object.assign(new FST_ERR_WS_NAMESPACES_UPGRADE_REQUIRED(), { headers: { upgrade: 'websocket' } })
}

interface RouterConfig { useSemicolonDelimiter?: boolean, routerOptions?: { useSemicolonDelimiter?: boolean } }

/** The encoded path below the prefix of a route that ends in a wildcard. */
export function pathOf (request: FastifyRequest): string {
  const url = request.raw.url!
  // As Fastify's router reads it: a semicolon is part of a segment, unless the application says otherwise.
  const { routerOptions, useSemicolonDelimiter } = request.server.initialConfig as RouterConfig
  const end = url.search(routerOptions?.useSemicolonDelimiter ?? useSemicolonDelimiter === true ? /[?;#]/ : /[?#]/)
  return (end === -1 ? url : url.slice(0, end)).slice(request.routeOptions.url!.length - 1)
}

/** Frees the slot where the upgrade does not complete. */
function holdSlot (request: FastifyRequest, slot: Slot): void {
  const onLost = (): void => slot.free()
  const { socket } = request.raw
  ;(request as WithSlot)[kSlot] = { slot, onLost }
  if (socket === undefined) return
  if (socket.destroyed) onLost()
  else socket.once('close', onLost)
}

/**
 * Drops what the upgrade left behind on the socket: the request, the response and their listeners would be kept in memory
 * as long as the connection lives. Measured (benchmarks/ws-namespaces): 15 MB per 1000 connections with them.
 */
function releaseUpgrade (socket: Socket, onLost: () => void): void {
  socket.removeAllListeners('error')
  const raw = socket._socket as (Duplex & { _httpMessage?: ServerResponse | null }) | null | undefined
  if (raw == null) return
  raw.removeListener('close', onLost)
  raw._httpMessage?.detachSocket(raw as never)
}

/**
 * Ends the connection of every upgrade that was answered instead. @fastify/websocket does so in a hook, but a URL that cannot
 * be decoded passes no hooks: such sockets would stay, without any timeout, and hold `close()` for ever.
 */
export function closeRefusedUpgrades (fastify: FastifyInstance): void {
  fastify.server.on('upgrade', (_request, socket: Duplex & { _httpMessage?: ServerResponse | null }) => {
    const response = socket._httpMessage
    if (response == null) return
    const end = (): void => { socket.end(() => socket.destroy()) }
    if (response.writableFinished) end()
    else response.once('finish', end)
  })
}

/** @fastify/websocket opens a WebSocket at any route, and closes it where nobody waits for one: what is no WebSocket says so instead. */
export function refuseUpgradesOfPages (fastify: FastifyInstance): void {
  fastify.addHook('onRoute', (route: RouteOptions & { websocket?: boolean, wsHandler?: unknown }) => {
    if (route.websocket === true || route.wsHandler !== undefined) return
    const { handler } = route
    route.handler = function (request, reply) {
      if ((request as MaybeUpgrade).ws === true) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
      return handler.call(this, request, reply)
    }
  })
}

/**
 * Node hands every request with an `Upgrade` to those who listen for upgrades, without its body and without the next request of
 * its connection, also `h2c`, which curl and Java's client offer. What asks for no WebSocket is given back: without that header
 * it is an ordinary request, as it would be without anybody who listens.
 */
export function passOnOtherUpgrades ({ server }: FastifyInstance): void {
  const listeners = server.listeners('upgrade') as Array<(request: IncomingMessage, socket: Duplex, head: Buffer) => void>
  server.removeAllListeners('upgrade')
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket') {
      for (const listener of listeners) listener.call(server, request, socket, head)
      return
    }
    socket.unshift(head)
    socket.unshift(headOf(request))
    server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
  })
}

/** The head of a request as it came, without what asks for an upgrade. */
function headOf ({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name, value] = [rawHeaders[index]!, rawHeaders[index + 1]!]
    const rest = name.toLowerCase() === 'connection' ? value.split(',').filter((one) => one.trim().toLowerCase() !== 'upgrade').join(',') : value
    if (name.toLowerCase() !== 'upgrade' && rest !== '') lines.push(`${name}: ${rest}`)
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}

function textOf (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
