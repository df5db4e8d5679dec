import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { temporaryFolder } from './helpers/index.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const PACKAGES = ['plugin-kit', 'redis-link', 'cluster-broadcast', 'redis-sessions', 'ws-client', 'ws-namespaces', 'config-cache', 'cluster-metrics', 'cursor-pagination']

interface Manifest { dependencies?: object, peerDependencies?: object, peerDependenciesMeta?: Record<string, { optional?: boolean }> }

/** Lays out what an application that installs the packages has, without the peers that are optional. */
function install (project: string): void {
  const link = (name: string, target: string): void => {
    const path = join(project, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    if (!existsSync(path)) symlinkSync(realpathSync(target), path)
  }
  link('@types/node', join(root, 'node_modules/@types/node'))
  for (const name of PACKAGES) {
    const source = join(root, 'packages', name)
    const folder = join(project, 'node_modules/@jpulse', name)
    cpSync(join(source, 'package.json'), join(folder, 'package.json'), { recursive: true })
    // Copied, because what a link leads to would find what the application has not installed.
    cpSync(join(source, 'dist'), join(folder, 'dist'), { recursive: true })
    const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as Manifest
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      if (!dependency.startsWith('@jpulse/') && peerDependenciesMeta?.[dependency]?.optional !== true) link(dependency, join(source, 'node_modules', dependency))
    }
  }
}

const APP = `
import clusterBroadcast, { FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL } from '@jpulse/cluster-broadcast'
import clusterMetrics, { FST_ERR_CLUSTER_METRICS_INVALID_NAME } from '@jpulse/cluster-metrics'
import configCache, { FST_ERR_CONFIG_CACHE_UNREACHABLE, memorySource } from '@jpulse/config-cache'
import cursorPagination, { InvalidCursorError, PageQuery } from '@jpulse/cursor-pagination'
import redisLink, { FST_ERR_REDIS_LINK_TIMEOUT } from '@jpulse/redis-link'
import redisSessions, { FST_ERR_REDIS_SESSIONS_UNAVAILABLE } from '@jpulse/redis-sessions'
import wsNamespaces, { FST_ERR_WS_NAMESPACES_INVALID_NAME } from '@jpulse/ws-namespaces'
import { connect } from '@jpulse/ws-client'
import { connect as connectToo } from '@jpulse/ws-namespaces/client'
import Fastify from 'fastify'

const { REDIS_URL, SITE_ID, SERVER_ID, RELEASE_NAME, SESSION_SECRET } = process.env
const app = Fastify()
app.register(redisLink, { url: REDIS_URL, siteId: SITE_ID })
app.register(redisSessions, { secret: 'a secret of more than thirty-two characters' })
app.register(clusterBroadcast, { serverId: SERVER_ID, authorize: () => true })
app.register(wsNamespaces, { routePrefix: '/api/1/ws' })
app.register(configCache, { source: memorySource() })
app.register(cursorPagination, { secret: SESSION_SECRET })
app.get('/', { schema: { querystring: PageQuery({ sortable: ['name'] }) } }, async () => app.paginate([{ name: 'a' }], { sort: 'name' }))
app.register(clusterMetrics, { release: RELEASE_NAME })

new FST_ERR_REDIS_LINK_TIMEOUT(5).message.length
// @ts-expect-error the argument is a number
new FST_ERR_REDIS_LINK_TIMEOUT('5')
for (const Made of [FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, FST_ERR_CLUSTER_METRICS_INVALID_NAME, FST_ERR_CONFIG_CACHE_UNREACHABLE, InvalidCursorError, FST_ERR_REDIS_SESSIONS_UNAVAILABLE, FST_ERR_WS_NAMESPACES_INVALID_NAME]) {
  // @ts-expect-error an error has no such property
  Made.prototype.colour
}
connect('/api/1/ws/chat')
connectToo('/api/1/ws/chat')
`

t.test('an application compiles against the packages, whatever its compiler’s options', async (t) => {
  const project = temporaryFolder(t)
  install(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(join(project, 'app.ts'), APP)
  for (const [name, options] of Object.entries({
    bundler: { module: 'ESNext', moduleResolution: 'bundler' },
    nodenext: { module: 'NodeNext' }
  })) {
    const file = `tsconfig.${name}.json`
    const strictest = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, noEmit: true, target: 'ES2023', lib: ['ES2023', 'DOM'], types: ['node'] }
    writeFileSync(join(project, file), JSON.stringify({ compilerOptions: { ...strictest, ...options }, files: ['app.ts'] }))
    const output = await new Promise<string>((resolve) => execFile(process.execPath, [join(root, 'node_modules/typescript-native/bin/tsc'), '-p', join(project, file)], (_err, stdout) => resolve(stdout)))
    t.equal(output, '', name)
  }
})
