import type { TSchema } from 'typebox'
import type { Definition } from '../namespace/definition.ts'

/** An AsyncAPI 3.0 document, as plain JSON. */
export interface AsyncApi {
  asyncapi: '3.0.0'
  info: { title: string, version: string }
  channels: Record<string, unknown>
  operations: Record<string, unknown>
  components: { messages: Record<string, { name: string, payload: unknown }> }
}

/** Describes what clients may send to a namespace. */
export function describeMessages ({ name, schema, relay }: Definition, path: string): AsyncApi {
  const messages: AsyncApi['components']['messages'] = {}
  for (const [index, one] of unionOf(schema).entries()) {
    const type = (one as { properties?: { type?: { const?: unknown } } }).properties?.type?.const
    const key = typeof type === 'string' ? type : `message${index + 1}`
    messages[key] = { name: key, payload: plain(one) }
  }
  for (const type of relay) messages[type] = { name: type, payload: relayed(type) }
  const parameters = Object.fromEntries(name.pattern.split('/').filter((segment) => segment.startsWith(':')).map((segment) => [segment.slice(1), {}]))
  const keys = Object.keys(messages)
  return {
    asyncapi: '3.0.0',
    info: { title: name.pattern, version: '1' },
    channels: {
      [name.pattern]: {
        address: path.replace(/:([A-Za-z0-9_]+)/g, '{$1}'),
        parameters,
        messages: Object.fromEntries(keys.map((key) => [key, { $ref: `#/components/messages/${pointer(key)}` }]))
      }
    },
    operations: { receive: { action: 'receive', channel: { $ref: `#/channels/${pointer(name.pattern)}` } } },
    components: { messages }
  }
}

function unionOf (schema: TSchema | null): unknown[] {
  if (schema === null) return []
  const { anyOf } = schema as { anyOf?: unknown[] }
  return Array.isArray(anyOf) ? anyOf.flatMap((one) => unionOf(one as TSchema)) : [schema]
}

function relayed (type: string): object {
  const target = type === 'user' ? 'userId' : type === 'room' ? 'roomId' : null
  return {
    type: 'object',
    required: target === null ? ['type'] : ['type', target],
    properties: { type: { const: type }, data: {}, ...(target === null ? {} : { [target]: { type: 'string' } }) }
  }
}

/** Without what TypeBox adds for itself. */
function plain (schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema))
}

function pointer (key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}
