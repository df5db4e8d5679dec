import { isThenable } from '@jpulse/plugin-kit'
import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import type { CallScript, Scripts } from '../script/script.ts'

/** What they return is of no use. */
type Commands = ReadonlyArray<(client: RedisClient, call: CallScript) => unknown>

/** The first function that failed by itself, by its place. */
interface Fault { at: number, err: unknown }

/**
 * Calls every function. Its own fault is that it throws, or that it rejects at once and has sent nothing; what an asynchronous function
 * makes of an answer is nobody's. None is a rejection that nobody handles.
 *
 * @param sent how many commands were sent so far
 * @returns tells the fault, once the answers are there
 */
function callAll (commands: Commands, client: RedisClient, call: CallScript, sent: () => number): () => Fault | undefined {
  let first: Fault | undefined
  for (const [at, command] of commands.entries()) {
    const note = (err: unknown): void => { if (first === undefined || at < first.at) first = { at, err } }
    const before = sent()
    try {
      const returned = command(client, call)
      if (isThenable(returned)) returned.then(() => {}, sent() === before ? note : () => {})
    } catch (err) {
      note(err)
    }
  }
  return () => first
}

export async function inPipeline (client: Redis, scripts: Scripts, commands: Commands): Promise<unknown[]> {
  const pipeline = client.pipeline()
  // A pipeline has the same methods.
  const fault = callAll(commands, pipeline as unknown as RedisClient, scripts.on(pipeline), () => pipeline.length)
  const answers = await pipeline.exec() ?? []
  const failed = fault()
  if (failed !== undefined) throw failed.err
  return answers.map(([err, answer]) => {
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
  const fault = callAll(commands, there, noting(call as (...args: unknown[]) => unknown) as CallScript, () => sent.length)
  const answers = await Promise.allSettled(sent)
  const failed = fault()
  if (failed !== undefined) throw failed.err
  return answers.map((answer) => {
    if (answer.status === 'rejected') throw answer.reason
    return answer.value
  })
}
