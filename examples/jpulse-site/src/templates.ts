import { watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type {} from '@jpulse/config-cache'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { InputError } from './errors.ts'
import { html, type Html, raw } from './html.ts'

const FOLDER = fileURLToPath(new URL('../views/', import.meta.url))
const FILES = 'template-files'
export const COLLECTION = 'templates'
const NAME = /^[a-z][a-z0-9-]{0,31}$/
const BODY_MAX = 20_000

type Values = Readonly<Record<string, unknown>>

/**
 * Pieces of pages that an administrator can edit while the site runs. A piece is a document, or the file of its name where
 * there is none; both are read through the cache, so after an edit no worker shows the old one.
 */
class Templates {
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  async names (): Promise<string[]> {
    return (await readdir(FOLDER)).flatMap((file) => file.endsWith('.html') ? [file.slice(0, -5)] : []).sort()
  }

  async source (name: string): Promise<string> {
    const edited = await this.#app.configCache.get(checkName(name), { collection: COLLECTION }) as { body?: unknown } | null
    return typeof edited?.body === 'string' ? edited.body : this.file(name)
  }

  /** `{{name}}` stands for a value, escaped. */
  async render (name: string, values?: Values): Promise<Html> {
    return fill(await this.source(name), values)
  }

  /** The same, from the file where the documents are out of reach: for pages that are served even then. */
  async orFile (name: string, values?: Values): Promise<Html> {
    return fill(await this.source(name).catch(() => this.file(name)), values)
  }

  /** @throws InputError */
  async save (name: string, body: string): Promise<void> {
    if (body.length > BODY_MAX) throw new InputError(`A template has ${BODY_MAX} characters at most.`)
    if (!(await this.names()).includes(checkName(name))) throw new InputError('There is no such template.')
    await this.#app.configCache.set(name, { body }, { collection: COLLECTION })
  }

  /** Takes the file again. */
  async reset (name: string): Promise<void> {
    await this.#app.configCache.delete(checkName(name), { collection: COLLECTION })
  }

  /** Files changed: every worker reads them anew. */
  async refresh (): Promise<void> {
    await this.#app.configCache.write({ tags: [FILES] }, async () => {})
  }

  /** Each worker has files of its own server, so they are not shared through Redis. */
  file (name: string): Promise<string> {
    return this.#app.configCache.getOrLoad(`${FILES}:${name}`, { tags: [FILES], l2: false },
      () => readFile(join(FOLDER, `${name}.html`), 'utf8').catch(() => '')) as Promise<string>
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    templates: Templates
  }
}

/** @param options `watch`: reads files anew when they change, for development */
export default fp(async (app: FastifyInstance, options: { watch: boolean }) => {
  const templates = new Templates(app)
  app.decorate('templates', templates)
  if (!options.watch) return
  const watcher = watch(FOLDER, { persistent: false }, () => {
    templates.refresh().catch((err: unknown) => app.log.warn({ err }, 'the templates could not be refreshed'))
  })
  app.addHook('onClose', async () => watcher.close())
}, { name: 'site-templates', fastify: '5.x' })

function fill (source: string, values: Values = {}): Html {
  return raw(source.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, key: string) => html`${values[key]}`.toString()))
}

function checkName (name: string): string {
  if (!NAME.test(name)) throw new InputError('There is no such template.')
  return name
}
