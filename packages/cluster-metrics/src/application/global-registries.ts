import { createRequire } from 'node:module'
import type { MetricsRegistry } from './registry.ts'

// One cache for the whole process, whoever asks. A bundle in CommonJS has no import.meta.url.
const { cache } = createRequire(process.execPath)
const CLIENT = /[\\/](?:prom-client|@prometheus-io[\\/]client)[\\/](?:dist[\\/]|lib[\\/])?index\.c?js$/

let seen = { modules: -1, registries: [] as MetricsRegistry[] }

/**
 * The global registries of the copies of prom-client that the application has loaded, whichever they are: an import
 * of ours would get a copy of its own where versions differ.
 */
export function globalRegistries (): readonly MetricsRegistry[] {
  const files = Object.keys(cache)
  if (files.length === seen.modules) return seen.registries
  const found = files.filter((file) => CLIENT.test(file)).map((file) => (cache[file]?.exports as { register?: Partial<MetricsRegistry> } | undefined)?.register)
  seen = { modules: files.length, registries: found.filter((registry): registry is MetricsRegistry => typeof registry?.getMetricsAsArray === 'function') }
  return seen.registries
}
