import { isThenable } from '@jpulse/plugin-kit'
import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import type { CallScript, Scripts } from '../script/script.ts'

/** What they return is of no use. */
type Commands = ReadonlyArray<(client: RedisClient, call: CallScript) => unknown>

export async function inPipeline (client: Redis, scripts: Scripts, commands: Commands): Promise<unknown[]> {
  const pipeline = client.pipeline()
  const call = scripts.on(pipeline)
  // A pipeline has the same methods.
  for (const command of commands) command(pipeline as unknown as RedisClient, call)
  return (await pipeline.exec() ?? []).map(([err, answer]) => {
    if (err !== null) throw err
    return answer
  })
}

/**
 * The answers of commands beside each other, as a pipeline gives them: of every command that was sent, whatever the functions return, and
 * with the first error in their order. None that fails beside it is a rejection that nobody handles.
 */
export async function besideEachOther (client: RedisClient, call: CallScript, commands: Commands): Promise<unknown[]> {
  const sent: unknown[] = []
  const noting = <A extends unknown[], R>(send: (...args: A) => R) => (...args: A): R => {
    const answer = send(...args)
    if (isThenable(answer)) sent.push(answer)
    return answer
  }
  const there = new Proxy(client, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? noting(value.bind(target) as (...args: unknown[]) => unknown) : value
    }
  })
  const callThere = noting(call as (...args: unknown[]) => unknown) as CallScript
  let fault: { err: unknown } | undefined
  for (const command of commands) {
    try {
      const returned = command(there, callThere)
      // What an asynchronous function makes of an answer is nobody's.
      if (isThenable(returned)) returned.then(() => {}, () => {})
    } catch (err) {
      fault ??= { err }
    }
  }
  const answers = await Promise.allSettled(sent)
  if (fault !== undefined) throw fault.err
  return answers.map((answer) => {
    if (answer.status === 'rejected') throw answer.reason
    return answer.value
  })
}
