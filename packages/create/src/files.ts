import { randomBytes } from 'node:crypto'
import * as code from './code.ts'
import { siteId, type Part, type Project } from './feature.ts'

/** Where a package comes from: a range, or a file. */
export type Source = (name: string) => string

/** @returns every file of a new application, by its path */
export function filesOf (project: Project, source: Source, overrides: Record<string, string>, redisUrl: string): Record<string, string> {
  const extension = project.typescript ? 'ts' : 'js'
  const ts = (text: string): string => project.typescript ? text : ''
  const written = (part: Part): string => part(project, ts)
  const { features } = project
  return {
    'package.json': json(manifest(project, source, overrides)),
    ...(project.typescript && { 'tsconfig.json': json(TSCONFIG) }),
    'ecosystem.config.cjs': ecosystem(project),
    'README.md': readme(project),
    '.gitignore': 'node_modules/\ndist/\n.env\n',
    '.env': environment(redisUrl, secret(32), secret(12)),
    '.env.example': environment('', '', ''),
    [`src/app.${extension}`]: written(code.app),
    [`src/server.${extension}`]: written(code.server),
    [`src/env.${extension}`]: written(code.environment),
    [`src/auth.${extension}`]: written(code.auth),
    [`src/routes/home.${extension}`]: written(code.home),
    [`test/helper.${extension}`]: written(code.helper),
    [`test/home.test.${extension}`]: written(code.homeTest),
    ...Object.fromEntries(features.flatMap(({ name, route }) => route === undefined ? [] : [[`src/routes/${name}.${extension}`, written(route)]])),
    ...Object.fromEntries(features.map(({ name, test }) => [`test/${name}.test.${extension}`, written(test)]))
  }
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`
const secret = (bytes: number): string => randomBytes(bytes).toString('base64url')

const TSCONFIG = {
  compilerOptions: {
    target: 'ES2023',
    lib: ['ES2023'],
    types: ['node'],
    module: 'NodeNext',
    strict: true,
    noUncheckedIndexedAccess: true,
    isolatedModules: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    sourceMap: true,
    rootDir: '.',
    outDir: 'dist'
  },
  include: ['src', 'test']
}

function manifest ({ name, typescript, features }: Project, source: Source, overrides: Record<string, string>): object {
  const from = (names: readonly string[]): Record<string, string> => Object.fromEntries([...new Set(names)].sort().map((one) => [one, source(one)]))
  const dependencies = from(['fastify', 'ioredis', '@jpulse/redis-link', ...features.flatMap(({ plugin, dependencies = [] }) => [plugin, ...dependencies])])
  const development = features.flatMap(({ devDependencies = [] }) => devDependencies).filter((one) => typescript || !one.startsWith('@types/'))
  const devDependencies = from([...development, ...typescript ? ['typescript', '@types/node'] : []])
  return {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19' },
    scripts: typescript
      ? { build: 'tsc', prestart: 'npm run build', start: 'node dist/src/server.js', pretest: 'npm run build', test: 'node --test dist/test/*.test.js' }
      : { start: 'node src/server.js', test: 'node --test test/*.test.js' },
    dependencies,
    devDependencies,
    ...(Object.keys(overrides).length > 0 && { overrides: ofNpm(overrides, { ...dependencies, ...devDependencies }) })
  }
}

/** An override of what is a dependency as well refers to it, so that npm lets another version of it be installed later. */
function ofNpm (overrides: Record<string, string>, own: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(overrides).map(([name, source]) => [name, name in own ? `$${name}` : source]))
}

function ecosystem ({ name, typescript }: Project): string {
  return `const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const { parseEnv } = require('node:util')

// What the file holds stays out of PM2's own files: each worker reads it by itself.
const file = join(__dirname, '.env')
const env = { ...existsSync(file) && parseEnv(readFileSync(file, 'utf8')), ...process.env }
// Without a Redis workers would know nothing of each other.
const instances = env.INSTANCES || (env.REDIS_URL ? 'max' : '1')
if (!/^(max|[1-9]\\d*)$/.test(instances)) throw new Error(\`INSTANCES must be a whole number from 1, or max, not "\${instances}"\`)

module.exports = {
  apps: [{
    name: '${siteId(name)}',
    script: './${typescript ? 'dist/src' : 'src'}/server.js',
    cwd: __dirname,
    exec_mode: 'cluster',
    instances: instances === 'max' ? 'max' : Number(instances),
    // A worker says when it listens; a reload keeps the one before until then.
    wait_ready: true,
    listen_timeout: 30_000,
    kill_timeout: 6000,
    stop_exit_codes: [78],
    env_production: { NODE_ENV: 'production' }
  }]
}
`
}

function environment (redisUrl: string, sessionSecret: string, adminPassword: string): string {
  return `# Where the application listens.
PORT=3000
HOST=127.0.0.1
# trace, debug, info, warn, error, fatal or silent.
LOG_LEVEL=info
# Addresses and networks of the proxies before it (10.0.0.0/8,loopback), or true for any: what they say of the visitor's address and of https counts.
TRUST_PROXY=
# redis://127.0.0.1:6379: without one the application is for one process.
REDIS_URL=${redisUrl}
# Signs cookies and cursors: 32 characters or more, the same for every process.
SESSION_SECRET=${sessionSecret}
# Of the administrator; without one there is none.
ADMIN_PASSWORD=${adminPassword}
`
}

function readme ({ name, typescript, features }: Project): string {
  return `# ${name}

\`\`\`sh
npm start     # ${typescript ? 'builds, then ' : ''}one process, at the address that the log names
npm test
\`\`\`

\`.env\` holds the variables, the password of the administrator among them; git does not take it. \`REDIS_URL\` names a Redis:
with it many processes are one application.

\`\`\`sh
${typescript ? 'npm run build\n' : ''}npx pm2 start ecosystem.config.cjs --env production
node ${typescript ? 'dist/src' : 'src'}/server.js --check && npx pm2 reload ${siteId(name)}
\`\`\`

\`--check\` ends with 78 and one line where a variable makes no sense, else with 0: a reload with such a one would end every worker. After ten wrong
passwords in a minute from one address the right one is refused as well (429, with \`Retry-After\`). Behind a proxy all visitors have one
address until \`TRUST_PROXY\` names the proxy, so that any of them can have the administrator wait.

What else starts it, a container or a service, starts \`node ${typescript ? 'dist/src' : 'src'}/server.js\` itself: npm ends before the server does, and hands SIGTERM to a
shell, which keeps it. A value in \`.env\` that holds a \`#\` stands in quotes.

| plugin | what for | routes |
|---|---|---|
${features.map(({ plugin, about, routes }) => `| \`${plugin}\` | ${about} | ${routes.join('; ')} |\n`).join('')}
\`src/app.${typescript ? 'ts' : 'js'}\` registers the plugins, \`src/routes\` uses them, \`test\` shows what they promise, \`src/auth.${typescript ? 'ts' : 'js'}\` says who
is the administrator: one account with one password, until you put yours there.
`
}
