import { ClientError } from './types.ts'

interface Waiting {
  resolve (data: unknown): void
  reject (err: ClientError): void
  timer: ReturnType<typeof setTimeout>
}

/** Requests that wait for an answer. Each settles once: by its answer, its time, or the end of the connection. */
export class Pending {
  readonly #waiting = new Map<string, Waiting>()

  has (id: string): boolean {
    return this.#waiting.has(id)
  }

  add (id: string, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(id, new ClientError('REQUEST_TIMEOUT', `no answer within ${timeoutMs} ms`)), timeoutMs)
      this.#waiting.set(id, { resolve, reject, timer })
    })
  }

  settle (id: string, data: unknown, error?: { code: string, message: string }): void {
    if (error !== undefined) this.fail(id, new ClientError(error.code, error.message))
    else this.#take(id)?.resolve(data)
  }

  fail (id: string, err: ClientError): void {
    this.#take(id)?.reject(err)
  }

  failAll (err: ClientError): void {
    for (const id of [...this.#waiting.keys()]) this.fail(id, err)
  }

  #take (id: string): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    clearTimeout(waiting?.timer)
    this.#waiting.delete(id)
    return waiting
  }
}
