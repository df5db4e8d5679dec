#!/usr/bin/env node
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ask, type Answers } from './ask.ts'
import { create, CreateError } from './create.ts'
import { FEATURES } from './features/index.ts'

const USAGE = `Usage: npm create @jpulse FOLDER -- [options]

Makes a small Fastify 5 application with tests and a PM2 file. What is not said is asked; where nobody can answer, it is all plugins in TypeScript.
  --plugins LIST     of ${FEATURES.map(({ name }) => name).join(', ')}; or all, none
  --typescript, --javascript
  --redis URL        for .env: redis://… ; empty for none
  --packages FOLDER  tarballs of the suite's packages, in place of the registry
  --no-install       leaves the packages to you
  --yes              asks nothing
`

async function main (): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      plugins: { type: 'string' },
      typescript: { type: 'boolean' },
      javascript: { type: 'boolean' },
      redis: { type: 'string' },
      packages: { type: 'string' },
      'no-install': { type: 'boolean' },
      yes: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' }
    }
  })
  if (values.help === true) { process.stdout.write(USAGE); return }
  if (positionals.length > 1 || (values.typescript === true && values.javascript === true)) throw new CreateError('One folder, and one language')

  const given: Answers = {
    folder: positionals[0],
    plugins: listOf(values.plugins),
    typescript: values.javascript === true ? false : values.typescript,
    redisUrl: values.redis
  }
  const answers = values.yes === true || !process.stdin.isTTY ? given : await ask(given)
  if (answers === null) throw new CreateError('\nNothing is made')
  const { folder = 'my-site', plugins, typescript, redisUrl } = answers
  const manager = /^(pnpm|yarn|bun)\//.exec(process.env.npm_config_user_agent ?? '')?.[1] ?? 'npm'
  // The others take what stands in for a package of a package from elsewhere, some of them from the root of a workspace.
  if (values.packages !== undefined && manager !== 'npm') throw new CreateError(`--packages is for npm: ${manager} takes tarballs in another way`)
  create({
    folder,
    ...(plugins !== undefined && { plugins }),
    ...(typescript !== undefined && { typescript }),
    ...(redisUrl !== undefined && { redisUrl }),
    ...(values.packages !== undefined && { packages: values.packages })
  })
  const { name } = JSON.parse(readFileSync(join(resolve(folder), 'package.json'), 'utf8')) as { name: string }
  process.stdout.write(`${name} is made.\n`)
  if (values['no-install'] !== true) await install(manager, resolve(folder))
  const way = relative(process.cwd(), resolve(folder))
  process.stdout.write(`
${way === '' ? '' : `  cd ${quoted(way)}\n`}${values['no-install'] === true ? `  ${manager} install\n` : ''}  ${manager} test
  ${manager} start     # the password of the administrator is in .env

`)
}

/** For a shell. */
function quoted (path: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(path) ? path : `"${path.replaceAll(/["$`]/g, '\\$&')}"`
}

function listOf (plugins: string | undefined): string[] | undefined {
  if (plugins === undefined) return undefined
  if (plugins === 'none') return []
  return plugins === 'all' ? FEATURES.map(({ name }) => name) : plugins.split(',').map((name) => name.trim()).filter((name) => name !== '')
}

async function install (manager: string, cwd: string): Promise<void> {
  process.stdout.write(`Installing with ${manager}\n`)
  // Windows has npm as a script of its shell.
  const child = spawn(manager, ['install', ...manager === 'npm' ? ['--no-audit', '--no-fund'] : []], { cwd, stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32' })
  const [status] = await once(child, 'exit').catch(() => [null]) as [number | null]
  if (status !== 0) throw new CreateError(`The application is there, but its packages are not: run "${manager} install" in it`)
}

try {
  await main()
} catch (err) {
  const isUsage = (err as { code?: unknown }).code?.toString().startsWith('ERR_PARSE_ARGS') === true
  if (isUsage) process.stderr.write(`${(err as Error).message}\n\n${USAGE}`)
  else process.stderr.write(`${err instanceof CreateError ? err.message : (err as Error).stack}\n`)
  process.exitCode = isUsage ? 2 : 1
}
