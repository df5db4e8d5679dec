import { HEARTBEAT } from '@jpulse/ws-client/wire'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'

const Id = Type.Integer({ minimum: 1, maximum: 0x7fff_ffff })

// Control frames of a socket of several namespaces. Further fields are ignored.
const OpenFrame = Type.Object({
  type: Type.Literal('open'),
  id: Id,
  path: Type.String({ minLength: 1, maxLength: 8192 }),
  protocols: Type.Optional(Type.Array(Type.String({ maxLength: 8192, pattern: '^[!#$%&\'*+.^_`|~0-9A-Za-z-]+$' }), { maxItems: 10 }))
})
const CloseFrame = Type.Object({ type: Type.Literal('close'), id: Id })
const HeartbeatFrame = Type.Object({ type: Type.Literal(HEARTBEAT) })

export type Open = Static<typeof OpenFrame>
export type Control = Open | Static<typeof CloseFrame> | Static<typeof HeartbeatFrame>

const checks = new Map<string, { Check (message: unknown): boolean }>([['open', Compile(OpenFrame)], ['close', Compile(CloseFrame)], [HEARTBEAT, Compile(HeartbeatFrame)]])

/** `garbage`: no JSON. `unknown`: of a later release perhaps. */
export function readControl (bytes: Buffer): Control | 'garbage' | 'invalid' | 'unknown' {
  let message: unknown
  try {
    message = JSON.parse(bytes.toString())
  } catch {
    return 'garbage'
  }
  const check = checks.get(String((message as { type?: unknown } | null)?.type))
  if (check === undefined) return 'unknown'
  return check.Check(message) ? message as Control : 'invalid'
}

/** Digits before a message of a channel: their value and length; null where there are none. */
export function readNumber (bytes: Buffer): { number: number, length: number } | null {
  let [number, length] = [0, 0]
  for (let digit = bytes[0]! - 48; digit >= 0 && digit <= 9 && length < 10; digit = bytes[++length]! - 48) number = number * 10 + digit
  return length === 0 ? null : { number, length }
}
