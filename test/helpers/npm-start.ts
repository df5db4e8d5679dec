import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { cleanEnv, ROOT } from '../../scripts/bootstrap.js'
import { answers } from '../../scripts/site/answers.js'
import { freePort, waitFor, type Scope } from './index.ts'
import { processesWith } from './processes.ts'

export interface Started {
  port: number
  address: string
  /** Pid of what was spawned, which leads a process group as a terminal's command does. */
  pid: number
  exited: Promise<number | null>
  output (): string
  /** Waits until `npm start` says the address. */
  ready (timeoutMs: number): Promise<void>
  /** Everything alive that descends from it. */
  alive (): string[]
}

export const NPM_START = ['npm', 'start'] as const
const START_JS = [process.execPath, join(ROOT, 'scripts/start.js')] as const

/** `npm start`, or what it runs, with a port and a folder of the test's own, no servers but those that `env` names, and nobody in the listing. */
export async function start (t: Scope, dir: string, { command = START_JS as readonly string[], env = {} }: { command?: readonly string[], env?: Record<string, string | undefined> } = {}): Promise<Started> {
  const port = await freePort()
  const { REDIS_URL: _redis, MONGODB_URI: _mongo, ...inherited } = cleanEnv()
  const [program, ...args] = command
  const child = spawn(program!, args, {
    cwd: ROOT,
    env: { ...inherited, HOST: '127.0.0.1', PORT: String(port), SERVER_ID: '025', INSTANCES: '2', SEED_PEOPLE: '0', JPULSE_RUN_DIR: dir, MARKER: `${dir}:${port}:`, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += chunk })
  const exited = once(child, 'exit').then(([status]) => status as number | null)
  const processes = () => processesWith(`MARKER=${dir}:${port}:`)
  t.teardown(async () => {
    // What is killed may be about to start another, a daemon of PM2 among them: until nothing is found twice.
    for (let empty = 0; empty < 2; await sleep(100)) {
      const found = processes()
      for (const { pid } of found) try { process.kill(pid, 'SIGKILL') } catch {}
      empty = found.length === 0 ? empty + 1 : 0
    }
    await exited
  })
  return {
    port,
    address: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    exited,
    output: () => output,
    async ready (timeoutMs) {
      await Promise.race([
        waitFor(() => output.includes(`http://127.0.0.1:${port}`), { what: 'the address', timeoutMs }),
        exited.then((status) => { throw new Error(`ended with ${status}`) })
      ]).catch((err) => { throw new Error(`${err.message}:\n${output}`) })
    },
    alive: () => processes().map(({ pid, command }) => `${pid} ${command}`)
  }
}

export const workersOf = async ({ address }: Started, count: number) => [...await answers(address, count, AbortSignal.timeout(20_000))].sort()
export const page = async ({ address }: Started, path = '/') => (await fetch(address + path)).text()
export const visits = async (started: Started) => Number(/data-testid="visits">(\d+)</.exec(await page(started))?.[1])

function isOpen (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}

/** Of the servers that it started. */
export const serverPorts = (started: Started) => [...started.output().matchAll(/(?:redis|mongodb):\/\/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port))

/** No process, no daemon, no server, and no port of theirs. */
export async function nothingIsLeft (t: Test, started: Started) {
  await waitFor(() => started.alive().length === 0, { what: 'every process to end', timeoutMs: 20_000 }).catch(() => {})
  t.same(started.alive(), [])
  // The kernel forgets the command of who dies before it closes its sockets.
  for (const port of [started.port, ...serverPorts(started)]) await waitFor(async () => !await isOpen(port), { what: `port ${port} to be closed`, timeoutMs: 20_000 })
}
