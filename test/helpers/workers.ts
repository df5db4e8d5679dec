import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

/** A process of the test's own that answers calls; its script exports them through `serve` of worker.js. */
export interface Worker {
  readonly pid: number
  /** What the script printed, line by line. */
  readonly output: string[]
  /** Calls a function of the script and returns what it returned. Rejects with its error, or when the process ends. */
  call<T = unknown> (name: string, ...args: unknown[]): Promise<T>
  /** Sends a signal: SIGKILL, SIGSTOP, SIGCONT, SIGTERM. */
  kill (signal: NodeJS.Signals): void
  /** Resolves with the exit code, null after a signal. */
  readonly exited: Promise<number | null>
}

export interface WorkerOptions {
  /** Added to the environment of each worker; a function gets its index. */
  env?: Record<string, string> | ((index: number) => Record<string, string>)
}

interface Answer { id: number, value?: unknown, error?: { message: string, code?: string } }

/**
 * Forks a script `count` times and waits until each is ready. A worker ends with its test, by itself where the test
 * crashed (its IPC channel closes), and by SIGKILL where it does not listen.
 *
 * @param script URL of a JavaScript module that calls `serve` of worker.js; plain JavaScript, because compiling in each
 *   process would cost more than the test
 */
export async function workers (t: Scope, count: number, script: URL, { env = {} }: WorkerOptions = {}): Promise<Worker[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => worker(t, script, typeof env === 'function' ? env(index) : env)))
}

async function worker (t: Scope, script: URL, env: Record<string, string>): Promise<Worker> {
  const child = fork(fileURLToPath(script), {
    // Without the loader of the test.
    execArgv: [],
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced'
  })
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream! }).on('line', (line) => { output.push(line) })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  let ended = false
  exited.then(() => { ended = true })
  t.teardown(async () => {
    if (ended) return
    child.kill('SIGKILL')
    await exited
  })
  const call = callsOf(child, exited, output)
  const ready = waitFor(() => ended || output.includes('ready'), { what: 'a worker to be ready', timeoutMs: 60_000 })
  await ready.catch((err) => { throw new Error(`${err.message}: ${output.join('\n')}`) })
  if (ended) throw new Error(`the worker ended at its start: ${output.join('\n')}`)
  return { pid: child.pid!, output, call, exited, kill: (signal) => { child.kill(signal) } }
}

function callsOf (child: ChildProcess, exited: Promise<number | null>, output: string[]): Worker['call'] {
  const waiting = new Map<number, (answer: Answer) => void>()
  let lastId = 0
  child.on('message', (answer: Answer) => {
    waiting.get(answer.id)?.(answer)
    waiting.delete(answer.id)
  })
  return async <T>(name: string, ...args: unknown[]) => {
    const id = ++lastId
    const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve))
    child.send({ id, name, args })
    const answer = await Promise.race([
      answered,
      exited.then((code): Answer => ({ id, error: { message: `the worker ended (${code}) during ${name}: ${output.slice(-20).join('\n')}` } }))
    ])
    if (answer.error !== undefined) throw Object.assign(new Error(answer.error.message), { code: answer.error.code })
    return answer.value as T
  }
}
