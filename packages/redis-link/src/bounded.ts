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

const REFUSALS = /^(LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|NOREPLICAS|MISCONF|OOM|BUSY|TRYAGAIN|NOAUTH|WRONGPASS|UNKILLABLE)\b/

/**
 * Whether an error says that Redis could not serve us now, in contrast to one that says that our command was wrong.
 * Everything but a Redis reply and a programming error comes from the connection.
 */
export function isOutage (error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return false
  return error.name !== 'ReplyError' || REFUSALS.test(error.message)
}
