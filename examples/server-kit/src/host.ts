import { once } from 'node:events'
import { createServer } from 'node:net'
import { ConfigError } from './errors.ts'

/** Of a name that nobody has, and of an address that another machine has. Where no name server answers nobody knows. */
const WRONG = new Set(['ENOTFOUND', 'EADDRNOTAVAIL'])

/** Listens at an address for a moment, at any port. @throws {ConfigError} where it is none of this machine */
export async function checkHost (host: string): Promise<void> {
  // `exclusive`: by itself, not through the primary of a cluster, which would take the worker for one that serves.
  const probe = createServer().listen({ host, port: 0, exclusive: true })
  try {
    await once(probe, 'listening')
  } catch (err) {
    if (WRONG.has((err as NodeJS.ErrnoException).code ?? '')) throw new ConfigError(`HOST must be an address or a name of this machine, not "${host}"`)
  } finally {
    probe.close()
  }
}
