import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** @typedef {{ call: (name: string, ...args: any[]) => Promise<any>, stop: () => Promise<void>, kill: () => Promise<void> }} Child */

/** Longest time of one call: no loop of a child is longer. */
const LONGEST_MS = 240_000

/** Longest time of a close. */
const STOP_MS = 60_000

/** Every child that lives: none outlives a part that failed. @type {Set<Child>} */
const living = new Set()

/**
 * Starts a script that calls `serve`, and waits until it does.
 *
 * @param {string} script beside this file @param {object} options which it gets as `options()`
 * @returns {Promise<Child>}
 */
export async function start (script, options) {
  const process_ = fork(fileURLToPath(new URL(script, import.meta.url)), [JSON.stringify(options)], { execArgv: ['--expose-gc'], env: { ...process.env, NODE_ENV: 'production' } })
  const ended = once(process_, 'exit')
  /** @type {Map<number, { resolve: (value: any) => void, reject: (err: Error) => void }>} */
  const waiting = new Map()
  let last = 0
  process_.on('message', (/** @type {any} */ { id, value, error }) => {
    const one = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) one?.resolve(value)
    else one?.reject(new Error(`${script}: ${error}`))
  })
  /** @type {Child['call']} */
  const call = (name, ...args) => new Promise((resolve, reject) => {
    const id = last++
    const timer = setTimeout(() => reject(new Error(`${script} did not answer ${name} in ${LONGEST_MS} ms`)), LONGEST_MS)
    const settled = (/** @type {(value: any) => void} */ settle) => (/** @type {any} */ value) => {
      clearTimeout(timer)
      settle(value)
    }
    waiting.set(id, { resolve: settled(resolve), reject: settled(reject) })
    // Without a callback a child that is gone would be an error that nobody catches.
    process_.send({ id, name, args }, (err) => { if (err !== null) waiting.get(id)?.reject(err) })
  })
  ended.then(([code, signal]) => {
    living.delete(child)
    for (const { reject } of waiting.values()) reject(new Error(`${script} ended with ${code ?? signal}`))
  })
  const end = (/** @type {() => void} */ how) => async () => {
    if (process_.exitCode === null && process_.signalCode === null) how()
    const timer = setTimeout(() => process_.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(timer)
  }
  const child = { call, stop: end(() => process_.disconnect()), kill: end(() => process_.kill('SIGKILL')) }
  living.add(child)
  await call('ready')
  return child
}

/** Ends whatever a part left. */
export async function killAll () {
  await Promise.all([...living].map(({ kill }) => kill()))
}

/** Of a script that `start` started. @returns {any} */
export const options = () => JSON.parse(process.argv[2] ?? '{}')

/** Answers the parent's calls. @param {Record<string, (...args: any[]) => any>} calls @param {() => unknown} [close] */
export function serve (calls, close = () => {}) {
  process.on('message', async (/** @type {any} */ { id, name, args }) => {
    try {
      process.send?.({ id, value: name === 'ready' ? null : await calls[name]?.(...args) ?? null })
    } catch (err) {
      process.send?.({ id, error: String(err) })
    }
  })
  process.on('disconnect', async () => {
    await close()
    process.exit()
  })
}
