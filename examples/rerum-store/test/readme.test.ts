import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import configCache, * as cacheExports from '@jpulse/config-cache'
import fp from 'fastify-plugin'
import { DocumentsUnavailableError } from 'server-kit'
import { tellOf } from '@jpulse/plugin-kit'
import t from 'tap'
import { serversEnv } from '../../../test/helpers/index.ts'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import * as errors from '../src/errors.ts'

const STORE = fileURLToPath(new URL('..', import.meta.url))
const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const README = readFileSync(`${STORE}README.md`, 'utf8')

/** The cells of the table under a heading, the head of it left out. */
function table (heading: string): string[][] {
  const [, section = ''] = new RegExp(`\n## ${heading}\n([^]*?)(?:\n## |$)`).exec(README) ?? []
  const rows = section.split('\n').filter((line) => line.startsWith('|')).slice(2)
  return rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()))
}

const codesIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)

/** `PATCH /api/patch`, `/set` says two: what a cell does not repeat is as before. */
function routesOf (cell: string): string[] {
  let [method, path] = ['', '']
  return codesIn(cell).map((code) => {
    const [, verb, place] = /^(?:([A-Z]+) )?([^?]+)/.exec(code)!
    method = verb ?? method
    path = verb === undefined && !place!.startsWith('/api/') ? path.replace(/\/[^/]+$/, place!) : place!
    return `${method} ${path}`
  })
}

t.test('the endpoints of the README are those of the store', async (t) => {
  const routes: string[] = []
  const listening = fp(async (app, options: Parameters<typeof configCache>[1]) => {
    app.addHook('onRoute', ({ method, url, schema }) => {
      // The answers to wrong methods are hidden, and HEAD comes with each GET.
      for (const one of [method].flat()) if (one !== 'HEAD' && (schema as { hide?: boolean } | undefined)?.hide !== true) routes.push(`${one} ${url}`)
    })
    await app.register(configCache, options)
  })
  const app = await buildApp(loadConfig({ ...await serversEnv(t), LOG_LEVEL: 'silent' }), listening)
  t.teardown(() => app.close())
  await app.ready()
  const told = table('API').flatMap(([cell]) => routesOf(cell!)).map((route) => /^GET \/(?:(?:health|client).*)?$/.test(route) ? route : route.replace(' ', ' /v1'))
  t.same(told.sort(), routes.sort())
})

t.test('the errors of the README are those of the store, with their statuses', async (t) => {
  const told = new Map(table('Errors').flatMap(([cell, status]) => codesIn(cell!).map((code) => [code.replace(/^_/, 'FST_ERR_RERUM_'), status!] as const)))
  const sources = readdirSync(`${STORE}src`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).map((name) => readFileSync(`${STORE}src/${name}`, 'utf8'))
  const used = new Set(sources.flatMap((source) => source.match(/FST_ERR_RERUM_\w+/g) ?? []))
  // What plugin-kit makes of errors that have no code of their own.
  for (const thrown of [new Error('x'), Object.assign(new Error('x'), { statusCode: 400 })]) used.add(tellOf(thrown, 'FST_ERR_RERUM').code)
  t.same([...told.keys()].filter((code) => code.startsWith('FST_ERR_RERUM_')).sort(), [...used].sort())
  const { FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_UNCONFIRMED } = cacheExports
  for (const Thrown of [...Object.values(errors), FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_UNCONFIRMED, DocumentsUnavailableError]) {
    const { code, statusCode } = new (Thrown as new (...words: string[]) => { code: string, statusCode: number })('one')
    t.equal(told.get(code), String(statusCode), code)
  }
})

t.test('the commands and files that the README names are there', async (t) => {
  const scripts = new Set([ROOT, STORE].flatMap((folder) => Object.keys((JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as { scripts: object }).scripts)))
  const named = [...README.matchAll(/npm (?:run ([\w:]+)|(start|test))\b/g)].map(([, script, short]) => script ?? short!)
  t.ok(named.length > 5)
  for (const script of named) t.ok(scripts.has(script), `npm run ${script}`)
  for (const [, file] of README.matchAll(/npm test -- (\S+\.ts)/g)) t.ok(existsSync(ROOT + file!), file!)
  for (const [, link] of README.matchAll(/\]\((?!https?:)([^)#\s]+)/g)) t.ok(existsSync(STORE + link!), link!)
})
