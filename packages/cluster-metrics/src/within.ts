/** Rejects where a promise is not settled within `ms`. */
export async function within<T> (ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const time = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  // Nobody listens to what fails after the time.
  promise.catch(() => {})
  try {
    return await Promise.race([promise, time])
  } finally {
    clearTimeout(timer)
  }
}
