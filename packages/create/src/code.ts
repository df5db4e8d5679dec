import { has, siteId, type Part } from './feature.ts'

/** `src/app`: what is registered, in order. */
export const app: Part = ({ features, name }, ts) => {
  const routes = features.filter(({ route }) => route !== undefined)
  return `import redisLink from '@jpulse/redis-link'
${features.map(({ local, plugin }) => `import ${local} from '${plugin}'\n`).join('')}import Fastify from 'fastify'
import { auth } from './auth.js'
import { logLevelOf, trustProxyOf } from './env.js'
import home from './routes/home.js'
${routes.map((feature) => `import ${feature.name} from './routes/${feature.name}.js'\n`).join('')}
/** The application. It does not listen yet. Without REDIS_URL it is for one process. */
export async function buildApp (env${ts(': NodeJS.ProcessEnv')} = process.env) {
  const app = Fastify({ logger: { level: logLevelOf(env) }, trustProxy: trustProxyOf(env) })
  app.decorate('auth', auth(env.ADMIN_PASSWORD))

  await app.register(redisLink, { url: env.REDIS_URL, siteId: '${siteId(name)}' })
${features.map(({ local, options }) => `  await app.register(${local}${options === '{}' ? '' : `, ${options}`})\n`).join('')}
  await app.register(home)
${routes.map((feature) => `  await app.register(${feature.name})\n`).join('')}  return app
}
`
}

export const server: Part = ({ features, typescript }, ts) => `import { once } from 'node:events'
import { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
${ts("import type { FastifyInstance } from 'fastify'\n")}import { buildApp } from './app.js'
import { hostOf, loadEnvFile, portOf } from './env.js'

let endingSince = 0

/** Ends without failing a request: a connection that is cut may have one on its way. */
async function end (app${ts(': FastifyInstance')}, isReplaced${ts(': boolean')}) {
  if (isReplaced) {
    const left = once(app.server, 'close')
    // Takes no more connections; what still comes on those that are open is answered, and is the last there.
    Server.prototype.close.call(app.server)
${features.some(({ name }) => name === 'websockets') ? '    app.wsNamespaces.drain().catch((err) => app.log.error(err))\n' : ''}    await Promise.race([left, sleep(3000, undefined, { ref: false })])
  }
  await app.close()
}

async function serve () {
  loadEnvFile(new URL('${typescript ? '../..' : '..'}/.env', import.meta.url))
  const [port, host] = [portOf(process.env), await hostOf(process.env)]
  const app = await buildApp()
  // Asked before a reload, which would end every worker with what makes no sense.
  if (process.argv[2] === '--check') process.exit()
  app.server.prependListener('request', (_request, response) => {
    if (endingSince > 0) response.setHeader('connection', 'close')
  })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      if (endingSince > 0) {
        // A second one ends it at once. npm hands Ctrl-C on, which the terminal has told already: signals this close are one.
        if (performance.now() - endingSince > 1000) process.exit(1)
        return
      }
      endingSince = performance.now()
      // PM2, which sends SIGINT, has another worker go on in its place; after Ctrl-C nobody does.
      end(app, signal === 'SIGTERM' || process.send !== undefined).then(() => process.exit(), (err) => {
        app.log.error(err)
        process.exit(1)
      })
    })
  }
  await app.listen({ port, host })
  // PM2 keeps the worker before until this one says so (ecosystem.config.cjs).
  process.send?.('ready')
}

try {
  await serve()
} catch (err) {
  // Left to PM2 it would be a worker that is online and serves nothing.
  const { code = '', message, stack } = err${ts(' as NodeJS.ErrnoException')}
  const isVariable = /_INVALID_OPTION$/.test(String(code))
  console.error(isVariable ? \`\${message} (the variables are in .env and the environment)\` : String(code).startsWith('E') ? message : stack)
  // PM2 does not start anew what ends with 78: a variable that makes no sense does not get better by trying again.
  process.exit(isVariable ? 78 : 1)
}
`

export const environment: Part = (_project, ts) => `import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, isIP } from 'node:net'

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Ends the start with one line: what makes no sense does not get better by trying again. */
const wrong = (message${ts(': string')}) => Object.assign(new Error(message), { code: 'APP_INVALID_OPTION' })

/** Takes what the file names, where the environment does not name it. */
export function loadEnvFile (file${ts(': URL')}) {
  if (!existsSync(file)) return
  try {
    process.loadEnvFile(file)
  } catch {
    throw wrong('.env cannot be read')
  }
}

export function portOf ({ PORT: value }${ts(': NodeJS.ProcessEnv')}) {
  if (!value) return 3000
  if (!/^\\d{1,5}$/.test(value) || Number(value) > 65_535) throw wrong(\`PORT must be a number up to 65535, not "\${value}"\`)
  return Number(value)
}

/** Listens there for a moment, at any port. */
export async function hostOf ({ HOST: value }${ts(': NodeJS.ProcessEnv')}) {
  if (!value) return '127.0.0.1'
  // By itself, not through PM2, which would take the worker for one that serves.
  const probe = createServer().listen({ host: value, port: 0, exclusive: true })
  try {
    await once(probe, 'listening')
  } catch (err) {
    const { code = '' } = err${ts(' as NodeJS.ErrnoException')}
    if (['ENOTFOUND', 'EADDRNOTAVAIL'].includes(code)) throw wrong(\`HOST must be an address or a name of this machine, not "\${value}"\`)
  } finally {
    probe.close()
  }
  return value
}

export function logLevelOf ({ LOG_LEVEL: value }${ts(': NodeJS.ProcessEnv')}) {
  if (!value) return 'info'
  if (!LEVELS.includes(value)) throw wrong(\`LOG_LEVEL must be one of \${LEVELS.join(', ')}, not "\${value}"\`)
  return value
}

/** Whose word counts for the visitor's address and for https. */
export function trustProxyOf ({ TRUST_PROXY: value }${ts(': NodeJS.ProcessEnv')}) {
  if (!value || value === 'false') return false
  // A number of hops is no answer: any visitor could then name an address. As an address it would be 0.0.0.1.
  if (value !== 'true' && !value.split(',').every((part) => isNetwork(part.trim()))) throw wrong(\`TRUST_PROXY must be true, false, or addresses and networks (10.0.0.0/8,loopback), not "\${value}"\`)
  return value === 'true' || value
}

function isNetwork (part${ts(': string')}) {
  const [, address = '', bits = '1'] = /^([^/]*)(?:\\/(\\d{1,3}))?$/.exec(part) ?? []
  return ['loopback', 'linklocal', 'uniquelocal'].includes(part) || (isIP(address) > 0 && Number(bits) >= 1 && Number(bits) <= (isIP(address) === 4 ? 32 : 128))
}
`

export const auth: Part = (project, ts) => `import { createHash, timingSafeEqual } from 'node:crypto'
${ts(`import type { FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyInstance { auth: ReturnType<typeof auth> }
}
`)}
const ADMIN = 'admin'

const digest = (text${ts(': string')}) => createHash('sha256').update(text).digest()

/** Who is the administrator: without a password nobody is. */
export function auth (password${ts(': string | undefined')}) {
  const isPassword = (given${ts(': string')}) => Boolean(password) && timingSafeEqual(digest(given), digest(password${ts(' ?? \'\'')}))
  /**
   * Whether name and password belong together. From one address, and in all processes together, ten wrong ones a minute are
   * answered; then the right one waits as well, or it could be guessed on. One call decides, however many come at once.
   */
  const check = async (request${ts(': FastifyRequest')}, name${ts(': string')}, given${ts(': string')}) => {
    const isRight = isPassword(given) && name === ADMIN
    const { allowed, retryAfterMs } = await request.server.redisLink.rateLimit(\`guess:\${request.ip}\`, 10, 60_000, { cost: isRight ? 0 : 1 })
    if (!allowed) throw Object.assign(new Error('Too many wrong passwords: wait'), { statusCode: 429, headers: { 'retry-after': Math.ceil(retryAfterMs / 1000) } })
    return isRight
  }
${has(project, 'sessions')
  ? `  const isAdmin = async (request${ts(': FastifyRequest')}) => request.server.sessions.current(request)?.userId === ADMIN
`
  : `  const isAdmin = async (request${ts(': FastifyRequest')}) => {
    const [, token] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? []
    return token !== undefined && check(request, ADMIN, token)
  }
`}  const onlyAdmin = async (request${ts(': FastifyRequest')}, reply${ts(': FastifyReply')}) => {
    if (!await isAdmin(request)) return reply.code(401).send({ error: 'This is for the administrator' })
  }
  return { ${has(project, 'sessions') ? 'check, ' : ''}isAdmin, onlyAdmin }
}
`

export const home: Part = (project, ts) => `${ts("import type { FastifyInstance } from 'fastify'\n\n")}const PAGE = \`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${project.name}</title>
<h1>${project.name}</h1>
${has(project, 'sessions')
  ? `<form method="post" action="/login">
  <p><label>Name <input name="name" value="admin" autocomplete="username"></label>
  <p><label>Password, of the file .env <input name="password" type="password" autocomplete="current-password"></label>
  <p><button>Sign in</button>
</form>
`
  : ''}<ul>
${pages(project).map((path) => `  <li><a href="${path}">${path}</a>\n`).join('')}</ul>
</html>
\`

export default async function home (app${ts(': FastifyInstance')}) {
  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
}
`

function pages ({ features }: { features: ReadonlyArray<{ routes: readonly string[] }> }): string[] {
  const links = features.flatMap(({ routes }) => routes.flatMap((line) => [...line.matchAll(/`(?:GET )?(\/[\w/-]+)[^`]*`/g)].map(([, path]) => path!)))
  return links.filter((path) => !path.startsWith('/ws'))
}

export const helper: Part = (project, ts) => `${ts("import type { TestContext } from 'node:test'\nimport type { FastifyInstance } from 'fastify'\n")}import { buildApp } from '../src/app.js'

const PASSWORD = 'of the administrator in tests'

/** The application in this process alone, whatever the environment names. */
export async function build (t${ts(': TestContext')}) {
  const app = await buildApp({ LOG_LEVEL: 'warn', ADMIN_PASSWORD: PASSWORD, SESSION_SECRET: 'only for tests, longer than 32 characters' })
  t.after(() => app.close())
  return app
}

/** Headers of a request by the administrator. */
export async function asAdmin (app${ts(': FastifyInstance')})${ts(': Promise<Record<string, string>>')} {
${has(project, 'sessions')
  ? `  const { statusCode, cookies } = await app.inject({ method: 'POST', url: '/login', payload: { name: 'admin', password: PASSWORD } })
  if (statusCode !== 200) throw new Error(\`the login was answered with \${statusCode}\`)
  return { cookie: cookies.map(({ name, value }) => \`\${name}=\${encodeURIComponent(value)}\`).join('; ') }
`
  : `  await app.ready()
  return { authorization: \`Bearer \${PASSWORD}\` }
`}}
`

export const homeTest: Part = () => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { build } from './helper.js'

test('the first page is served', async (t) => {
  const app = await build(t)
  const { statusCode, headers } = await app.inject('/')
  assert.equal(statusCode, 200)
  assert.match(String(headers['content-type']), /^text\\/html/)
})
`
