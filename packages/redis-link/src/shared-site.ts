import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from './link.ts'

/** How long an application is remembered that connects no more. */
const KEEP_MS = 7 * 24 * 3600 * 1000

/**
 * Warns, once per process, where another application lives on the same Redis under the same default `siteId`: the two are
 * one cluster, with each other's sessions, messages and cached values, and nothing would say so. For applications without
 * a `siteId` only; who names one knows what shares it.
 */
export function warnOfSharedSite (link: RedisLink, log: FastifyBaseLogger): void {
  const look = async (): Promise<void> => {
    const own = await applicationName()
    const key = link.key('link', 'application')
    await link.run((client) => client.set(key, own, 'PX', KEEP_MS, 'NX'))
    const first = await link.run((client) => client.get(key))
    if (first === own) await link.run((client) => client.pexpire(key, KEEP_MS))
    else if (first !== null) {
      log.warn({ own, first }, `the applications "${own}" and "${first}" use one Redis without the option siteId: they are one cluster, and share sessions, messages and cached values. Give each a siteId of its own`)
    }
  }
  const onUp = (): void => {
    link.off('up', onUp)
    look().catch((err: unknown) => log.debug({ err }, 'whether another application shares the default siteId cannot be told'))
  }
  if (link.isUp) onUp()
  else link.on('up', onUp)
}

/** The name in the package.json of the working directory or above; without one, of the script. */
async function applicationName (): Promise<string> {
  for (let folder = process.cwd(), above = ''; folder !== above; folder = dirname(above)) {
    above = folder
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => '{}')
    const name: unknown = nameIn(text)
    if (typeof name === 'string' && name !== '') return name
  }
  return basename(process.argv[1] ?? 'node')
}

function nameIn (json: string): unknown {
  try {
    return (JSON.parse(json) as { name?: unknown } | null)?.name
  } catch {
    return undefined
  }
}
