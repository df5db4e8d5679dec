import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds of the one monotonic clock of the machine. */
export const clock = () => Number(process.hrtime.bigint()) / 1e6

/** @param {number[]} values @param {number} share */
export const quantile = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN

/** @param {number[]} values */
export const quantiles = (values) => ({ p50: round(quantile(values, 0.5)), p99: round(quantile(values, 0.99)), samples: values.length })

/** To four digits: more would be noise. @param {number} value */
export const round = (value) => Number(value.toPrecision(4))

/** @param {number} count @param {(index: number) => Promise<unknown>} fn @param {number} atOnce */
export async function many (count, fn, atOnce = 64) {
  let next = 0
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, async () => {
    while (next < count) await fn(next++)
  }))
}

/** @param {() => unknown} condition @param {string} what @param {number} timeoutMs */
export async function until (condition, what, timeoutMs) {
  const end = performance.now() + timeoutMs
  while (!await condition()) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`)
    await sleep(20)
  }
}

/** Bytes of the heap and of buffers after a collection. */
export async function heap () {
  for (let turn = 0; turn < 4; turn++) {
    await sleep(20)
    globalThis.gc?.()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Resident bytes after a collection. */
export async function resident () {
  await heap()
  return process.memoryUsage.rss()
}
