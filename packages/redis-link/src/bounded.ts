import { FST_ERR_REDIS_LINK_TIMEOUT } from './errors.ts'

/** Rejects with FST_ERR_REDIS_LINK_TIMEOUT where a promise is not settled within `ms`. */
export async function bounded<T> (promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new FST_ERR_REDIS_LINK_TIMEOUT(ms)), ms)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
