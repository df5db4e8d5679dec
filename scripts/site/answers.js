import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Asks the site over new connections until as many different workers have answered as there should be.
 * @param {string} address
 * @param {number} workers
 * @param {AbortSignal} signal ends the wait
 * @returns {Promise<Set<string>>} who answered; fewer than asked for when the signal came first
 */
export async function answers (address, workers, signal) {
  /** @type {Set<string>} */
  const seen = new Set()
  while (!signal.aborted && seen.size < workers) {
    const worker = await ask(`${address}/health/live`)
    if (worker === undefined) await sleep(50)
    else seen.add(worker)
  }
  return seen
}

/** @param {string} url @returns {Promise<string | undefined>} the worker that answered */
function ask (url) {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 2000 }, (response) => {
      response.resume()
      const worker = response.headers['x-worker']
      resolve(response.statusCode === 200 && typeof worker === 'string' ? worker : undefined)
    })
    request.once('timeout', () => request.destroy())
    request.once('error', () => resolve(undefined))
  })
}
