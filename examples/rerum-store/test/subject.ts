import { authorization, write } from './store-cluster.ts'
import { idOf } from './helper.ts'
import type { Answer, Ask, Pin } from './pins.ts'

/** An object with a counter, in the middle of its versions, that every kind of read shows. */
export interface Subject {
  uri: string
  id: string
  mark: string
  /** Values that were sent to be written, and when. */
  attempts: Array<{ value: number, time: number }>
  /** Values whose write was acknowledged, and when. */
  acknowledged: Array<{ value: number, time: number }>
  reads: Record<string, { ask: Ask, count: (answer: Answer) => number }>
}

/** root -> the object -> a child */
export async function makeSubject (pin: Pin, mark: string): Promise<Subject> {
  const { json: root } = await write(pin, 'POST', '/create', { role: 'root' })
  const { json: object } = await write(pin, 'PUT', '/update', { '@id': root['@id'], mark, count: 0 })
  const { json: child } = await write(pin, 'PUT', '/update', { '@id': object['@id'], role: 'child' })
  const inList = ({ json }: Answer): number => json.find((one: { mark?: string }) => one.mark === mark)?.count
  return {
    uri: object['@id'],
    id: idOf(object),
    mark,
    attempts: [],
    acknowledged: [],
    reads: {
      id: { ask: { path: `/v1/id/${idOf(object)}` }, count: ({ json }) => json.count },
      history: { ask: { path: `/v1/history/${idOf(child)}` }, count: inList },
      since: { ask: { path: `/v1/since/${idOf(root)}` }, count: inList },
      query: { ask: { method: 'POST', path: '/v1/api/query', body: { mark } }, count: inList },
      search: { ask: { method: 'POST', path: '/v1/api/search', body: mark }, count: inList }
    }
  }
}

/** Sets the counter, where `version` is still the one. */
export async function overwriteCount (pin: Pin, { uri, mark, attempts, acknowledged }: Subject, count: number, version?: string): Promise<Answer> {
  const headers = { authorization, ...(version !== undefined && { 'if-overwritten-version': version }) }
  attempts.push({ value: count, time: performance.now() })
  const answer = await pin.ask({ method: 'PUT', path: '/v1/api/overwrite', body: { '@id': uri, mark, count }, headers }, 20_000)
  if (answer.status === 200) acknowledged.push({ value: count, time: answer.end })
  return answer
}
