import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { sharedRedis, uniqueName } from './helpers/index.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

for (const [where, redis] of [['with Redis', true], ['without Redis, in one process', false]] as const) {
  t.test(`the plugins compose as the README says, ${where}`, async (t) => {
    const [, composed] = /```ts\n([^]*?)```/.exec(readFileSync(`${root}README.md`, 'utf8'))!
    const code = `
import Fastify from 'fastify'
import redisLink from '@jpulse/redis-link'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import redisSessions from '@jpulse/redis-sessions'
import clusterMetrics from '@jpulse/cluster-metrics'
import configCache, { memorySource } from '@jpulse/config-cache'
import cursorPagination from '@jpulse/cursor-pagination'
import wsNamespaces from '@jpulse/ws-namespaces'
const app = Fastify()
const [isAdmin, secret, source] = [async () => true, 'a secret of more than thirty-two characters', memorySource()]
${composed!.replace("'shop'", `'${uniqueName()}'`)}
await app.ready()
const names = ['redisLink', 'appCluster', 'sessions', 'wsNamespaces', 'configCache', 'clusterMetrics', 'paginate'].filter((name) => app.hasDecorator(name))
console.log(JSON.stringify({ names, state: app.redisLink.state }))
await app.close()`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code],
      { cwd: root, env: { PATH: process.env.PATH, ...redis && { REDIS_URL: sharedRedis() } }, timeout: 60_000 })
    t.same(JSON.parse(stdout), {
      names: ['redisLink', 'appCluster', 'sessions', 'wsNamespaces', 'configCache', 'clusterMetrics', 'paginate'],
      state: redis ? 'up' : 'disabled'
    })
  })
}
