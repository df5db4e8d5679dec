import { Agent, get } from 'node:http'

export interface Load {
  /** Requests answered with 200 so far. */
  readonly succeeded: number
  /** Requests that got another status or none, each described. */
  readonly failures: string[]
  /** Which workers answered. */
  readonly workers: Map<string, number>
  /** Lets the requests under way finish and starts no more. */
  stop (): Promise<void>
}

/**
 * Sends GET requests over keep-alive connections, one after the other on each, until it is stopped. No request is
 * sent twice: one that hits a closing connection counts as failed.
 *
 * @param paths asked in turn, with the cookie where there is one
 */
export function load (address: string, { connections, paths, cookie }: { connections: number, paths: readonly string[], cookie?: string }): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const failures: string[] = []
  const workers = new Map<string, number>()
  const ended = new AbortController()
  let sent = 0
  let succeeded = 0

  const ask = (path: string) => new Promise<void>((resolve) => {
    const request = get(address + path, { agent, timeout: 30_000, ...(cookie !== undefined && { headers: { cookie } }) }, (response) => {
      response.once('error', (err) => { failures.push(`${path}: ${err.message}`); resolve() })
      response.resume().once('end', () => {
        if (response.statusCode === 200) succeeded++
        else failures.push(`${path}: ${response.statusCode}`)
        const worker = String(response.headers['x-worker'])
        workers.set(worker, (workers.get(worker) ?? 0) + 1)
        resolve()
      })
    })
    request.once('timeout', () => request.destroy(new Error('no answer')))
    request.once('error', (err) => { failures.push(`${path}: ${err.message}`); resolve() })
  })
  const client = async () => { while (!ended.signal.aborted) await ask(paths[sent++ % paths.length]!) }
  const clients = Array.from({ length: connections }, client)

  return {
    get succeeded () { return succeeded },
    failures,
    workers,
    async stop () {
      ended.abort()
      await Promise.all(clients)
      agent.destroy()
    }
  }
}
