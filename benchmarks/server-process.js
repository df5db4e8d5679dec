import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** @typedef {{ name: string, call: (what: string) => Promise<any>, stop: () => void, rates: number[], cpu: number[] }} ServerProcess */

/**
 * A variant of a benchmark's server in a process of its own, which answers each word that it is sent with one message.
 *
 * @param {URL} script @param {string} name which variant
 * @returns {Promise<ServerProcess>}
 */
export async function startServer (script, name) {
  const child = fork(fileURLToPath(script), [name], { env: { ...process.env, NODE_ENV: 'production' } })
  /** @param {string} what */
  const call = async (what) => {
    const answer = once(child, 'message')
    child.send(what)
    return (await answer)[0]
  }
  await once(child, 'message')
  return { name, call, stop: () => { child.kill() }, rates: [], cpu: [] }
}
