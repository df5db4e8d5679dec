import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
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
import cursorPagination, { PageQuery } from '@jpulse/cursor-pagination'
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
app.addHook('onRoute', (route) => { route.config = { ...route.config, session: false } })
app.register(clusterBroadcast, { serverId: SERVER_ID, authorize: () => true })
app.register(wsNamespaces, { routePrefix: '/api/1/ws' })
app.register(configCache, { source: memorySource() })
app.register(cursorPagination, { secret: SESSION_SECRET })
app.get('/', { schema: { querystring: PageQuery({ sortable: ['name'] }) } }, async () => app.paginate([{ name: 'a' }], { key: 'name', sort: { name: 1 } }))
app.register(clusterMetrics, { release: RELEASE_NAME })

new FST_ERR_REDIS_LINK_TIMEOUT(5).message.length
// @ts-expect-error the argument is a number
new FST_ERR_REDIS_LINK_TIMEOUT('5')
for (const Made of [FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, FST_ERR_CLUSTER_METRICS_INVALID_NAME, FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_REDIS_SESSIONS_UNAVAILABLE, FST_ERR_WS_NAMESPACES_INVALID_NAME]) {
  // @ts-expect-error an error has no such property
  Made.prototype.colour
}
connect('/api/1/ws/chat')
connectToo('/api/1/ws/chat')
`

/** What a compiler says of a project. */
const compile = (config: string, compiler: string) => new Promise<string>((resolve) => execFile(process.execPath, [join(root, 'node_modules', compiler, 'bin/tsc'), '-p', config],
  { env: { PATH: process.env.PATH } }, (_err, stdout, stderr) => resolve(stdout + stderr)))

/** Lists of every kind, and what is inferred of them. */
const PAGES = `
import cursorPagination, { PageOf, PageQuery, paginateOptions, toJpulse, toPage, toRelay, type Page, type PaginateOptions } from '@jpulse/cursor-pagination'
import Fastify from 'fastify'
import { Type } from 'typebox'

export interface User { _id: number, name: string, age: number }
declare const users: User[]
export const app = Fastify()
app.register(cursorPagination, { secret: 's' })
export const Query = PageQuery({ sortable: { created: 'createdAt', newest: { createdAt: -1 } }, maxLimit: 50 })
export const Answer = PageOf(Type.Object({ name: Type.String() }))
export const list = async (query: unknown) => toJpulse(await app.paginate(users, { ...paginateOptions(query), projection: { name: 1, _id: 0 } }), ({ name }) => ({ label: name.toUpperCase() }))
export const feed = async (args: { first?: number | null, after?: string | null }) => toRelay(await app.paginate(users, { ...args, sort: { age: -1 } }), ({ name }) => name.length)
export const plain = async () => toPage(await app.paginate(new Set(users), { page: (rows) => rows.map(({ age }) => ({ double: age * 2 })) }))
export const each = () => app.paginate.pages(users, { signal: AbortSignal.timeout(5) })
export const options: PaginateOptions<User> = { filter: { age: { $gt: 5 } }, sort: { name: 1 } }
export const page = (): Promise<Page<User>> => app.paginate(users, options)
// @ts-expect-error no such field
app.paginate(users, { sort: { nam: 1 } })
// @ts-expect-error a number
app.paginate(users, { filter: { age: 'old' } })
`

const MONGO = `
import type { Collection, Db, ObjectId } from 'mongodb'
import { connection, model, Schema } from 'mongoose'
import { toJpulse, toRelay } from '@jpulse/cursor-pagination'
import { app } from './pages.ts'

interface Post { _id: ObjectId, title: string, at: Date }
declare const db: Db
declare const either: Collection<Post> | Post[]
export const posts = () => app.paginate(db.collection<Post>('posts'), { filter: { at: { $gt: new Date() } }, sort: { at: -1 }, projection: { title: 1 } })
export const titles = async () => (await posts()).items.map(({ title, _id }) => title + _id.toHexString())
export const loose = async () => (await app.paginate(db.collection('posts'), { projection: { title: 1 } })).items.map((item) => String(item['title']))
export const union = async () => toRelay(await app.paginate(either, { limit: 5 }), ({ title }) => title)
const Blog = model('Blog', new Schema({ name: { type: String, required: true } }))
export const hydrated = async () => (await app.paginate(Blog, { populate: 'author', sort: { name: 1 } })).items.map((blog) => blog.name + String(blog.isNew))
export const lean = async () => toJpulse(await app.paginate(Blog, { lean: true, projection: { name: 1 } }), ({ name }) => name)
export const connected = async () => (await app.paginate(connection.collection<Post>('posts'))).items
export const pipeline = async () => (await app.paginate.pipeline<{ _id: string, n: number }>(Blog, [], { sort: { n: -1 } })).items.map(({ n }) => n)
`

const DECLARED = [
  /list: \(query: unknown\) => Promise<import\("@jpulse\/cursor-pagination"\)\.JpulsePage<\{\s*label: string;\s*\}>>/,
  /RelayConnection<number>/,
  /PlainPage<\{\s*double: number;\s*\}>/,
  /each: \(\) => AsyncIterableIterator<Page<User>>/
]
const DECLARED_OF_MONGO = [/posts: \(\) => Promise<import\("@jpulse\/cursor-pagination"\)\.Page<Pick<Post, "_id" \| "title">>>/, /titles: \(\) => Promise<string\[\]>/, /RelayConnection<string>/, /JpulsePage<string>/, /connected: \(\) => Promise<Post\[\]>/]

const STRICTEST = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, target: 'ES2023', lib: ['ES2023', 'DOM'], types: ['node'] }
const DECLARATIONS = { module: 'NodeNext', declaration: true, emitDeclarationOnly: true, allowImportingTsExtensions: true, outDir: 'out' }

/** @returns what the compiler says of files with these options */
async function compiled (project: string, files: string[], options: object, compiler = 'typescript-native'): Promise<string> {
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...STRICTEST, ...options }, files }))
  return compile(join(project, 'tsconfig.json'), compiler)
}

/** The examples of the READMEs in TypeScript that are an application, each with what it leans on. */
function examples (): Record<string, string> {
  const blocksOf = (name: string): string[] => [...readFileSync(join(root, 'packages', name, 'README.md'), 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!)
  const [metrics, told] = blocksOf('cluster-metrics')
  const imports = metrics!.slice(0, metrics!.indexOf('const app'))
  const whole = PACKAGES.flatMap((name) => blocksOf(name).filter((code) => code.startsWith('import Fastify') && !code.includes('/testing')).map((code, index) => [`${name}-${index}.ts`, code] as const))
  return { ...Object.fromEntries(whole), 'told.ts': `${imports}const app = Fastify()\napp.register(redisLink)\napp.register(clusterBroadcast)\n${told}` }
}

t.test('an application compiles against the packages, whatever its compiler’s options, without the peers that are optional', async (t) => {
  const project = temporaryFolder(t)
  install(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(join(project, 'app.ts'), APP)
  writeFileSync(join(project, 'pages.ts'), PAGES)
  t.equal(await compiled(project, ['app.ts'], { noEmit: true, module: 'ESNext', moduleResolution: 'bundler' }), '', 'bundler')
  const files = examples()
  for (const [file, code] of Object.entries(files)) writeFileSync(join(project, file), `${code}\nexport {}\n`)
  t.match(Object.keys(files).join(), 'cluster-broadcast-0.ts,ws-namespaces-0.ts,cluster-metrics-0.ts,told.ts')
  t.equal(await compiled(project, ['app.ts', 'pages.ts', ...Object.keys(files)], DECLARATIONS), '', 'nodenext, and the examples of the READMEs')
  for (const type of DECLARED) t.match(readFileSync(join(project, 'out/pages.d.ts'), 'utf8'), type)
  // Each takes six seconds: TypeScript 7 is what an editor of today runs, 5.9 and 6 are for the long run.
  for (const compiler of process.env.CONFORMANCE === 'full' ? ['typescript-5.9', 'typescript'] : []) {
    t.equal(await compiled(project, ['app.ts'], { noEmit: true, module: 'ESNext', moduleResolution: 'bundler' }, compiler), '', `bundler, ${compiler}`)
    t.equal(await compiled(project, ['app.ts', 'pages.ts'], DECLARATIONS, compiler), '', `nodenext, ${compiler}`)
  }
})

t.test('no declaration writes out a default of @types/node, which another version of it may refuse', (t) => {
  for (const name of PACKAGES) {
    const dist = join(root, 'packages', name, 'dist')
    const declarations = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'))
    t.ok(declarations.length > 0, name)
    t.same(declarations.filter((file) => readFileSync(join(dist, file), 'utf8').includes('EventEmitter<[never]>')), [], name)
  }
  t.end()
})

// Each costs six seconds of the compiler, most of them for mongoose's own types: the older pair is compiled in the long run.
for (const [mongodb, mongoose] of [['mongodb', 'mongoose'], ...process.env.CONFORMANCE === 'full' ? [['mongodb-6', 'mongoose-8']] : []] as Array<[string, string]>) {
  t.test(`the types of pages are inferred, and can be declared, with ${mongodb} and ${mongoose}`, async (t) => {
    const project = temporaryFolder(t)
    install(project)
    for (const [name, installed] of [['mongodb', mongodb], ['mongoose', mongoose]] as const) {
      symlinkSync(realpathSync(join(root, 'packages/cursor-pagination/node_modules', installed)), join(project, 'node_modules', name))
    }
    writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
    writeFileSync(join(project, 'pages.ts'), PAGES)
    writeFileSync(join(project, 'mongo.ts'), MONGO)
    t.equal(await compiled(project, ['mongo.ts'], DECLARATIONS), '')
    for (const type of DECLARED_OF_MONGO) t.match(readFileSync(join(project, 'out/mongo.d.ts'), 'utf8'), type)
  })
}
