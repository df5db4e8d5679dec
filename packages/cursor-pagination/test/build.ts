import Fastify from 'fastify'
import t from 'tap'
import cursorPagination, { type FastifyCursorPaginationOptions, type Page, type PaginateOptions } from '../src/index.ts'

export interface Item {
  _id: number
  a?: unknown
  b?: string
}

export const code = (name: string) => `FST_ERR_CURSOR_PAGINATION_${name}`
export const items = (n: number): Item[] => Array.from({ length: n }, (_, _id) => ({ _id, a: _id % 3, b: `v${_id}` }))
export const ids = (page: Page<{ _id?: unknown }>) => page.items.map(({ _id }) => _id)
export const wrong = (options: object) => options as PaginateOptions<Item>

/** An application with the plugin, which is closed at the end, and what it logs. */
export async function build (options: FastifyCursorPaginationOptions = { secret: 's' }) {
  const lines: Array<{ level: number, msg: string, index?: unknown }> = []
  const app = Fastify({ logger: { level: 'debug', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  await app.register(cursorPagination, options)
  return { paginate: app.paginate, lines }
}
