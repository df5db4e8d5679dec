import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync } from 'node:fs'

/**
 * A server process that cannot outlive us.
 *
 * A small shell stands between: it starts the server in a session of its own (Ctrl-C at the terminal does not reach
 * it, so we decide the order of the shutdown) and kills it, with whatever it started, when the pipe that only we hold
 * closes, which also happens when this process crashes or is killed.
 *
 * @typedef {object} Guarded
 * @property {number} pid the server's own pid
 * @property {Promise<number | null>} exited resolves with the exit status when the server has ended
 * @property {() => boolean} alive
 * @property {(signal: NodeJS.Signals) => void} kill sends a signal to the server
 * @property {(signal?: NodeJS.Signals, graceMs?: number) => Promise<void>} stop signal, wait, then SIGKILL it and
 *   whatever it started
 * @property {import('node:stream').Readable | null} stdout
 */

const GUARD = `
"$@" 3>&- 4<&- </dev/null & pid=$!
{ read -r _ <&4; kill -KILL 0; } & watcher=$!
echo "$pid" >&3
exec 3>&- 4<&-
wait "$pid"; status=$?
kill "$watcher" 2>/dev/null; wait "$watcher" 2>/dev/null
exit "$status"
`

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, log?: string }} [options] `log`: a file that gets stdout and stderr;
 *   without it stdout is readable and stderr is dropped
 * @returns {Promise<Guarded>}
 */
export async function spawnGuarded (command, args, { cwd, env = process.env, log } = {}) {
  const out = log === undefined ? undefined : openSync(log, 'a')
  const guard = spawn('/bin/sh', ['-c', GUARD, 'guard', command, ...args], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', out ?? 'pipe', out ?? 'ignore', 'pipe', 'pipe']
  })
  if (out !== undefined) closeSync(out)
  const pidPipe = /** @type {import('node:stream').Readable} */ (guard.stdio[3])
  const alivePipe = /** @type {import('node:stream').Writable} */ (guard.stdio[4])
  alivePipe.on('error', () => {})

  let ended = false
  /** @type {Promise<number | null>} */
  const exited = new Promise((resolve) => {
    guard.once('error', () => { ended = true; resolve(null) })
    guard.once('exit', (code) => { ended = true; alivePipe.destroy(); resolve(code) })
  })
  const pid = await new Promise((resolve, reject) => {
    guard.once('error', reject)
    pidPipe.once('data', (data) => resolve(Number.parseInt(String(data), 10)))
    pidPipe.once('end', () => reject(new Error(`${command} could not be started`)))
  })
  // The guard keeps nobody's event loop alive.
  guard.unref()
  for (const pipe of [guard.stdout, pidPipe, alivePipe]) /** @type {any} */ (pipe)?.unref?.()

  /** @param {NodeJS.Signals} signal */
  const kill = (signal) => {
    if (ended) return
    try { process.kill(pid, signal) } catch (err) {
      if (/** @type {NodeJS.ErrnoException} */ (err).code !== 'ESRCH') throw err
    }
  }
  const killAll = () => {
    // The guard leads the process group; while it has not ended, the number is nobody else's.
    if (!ended) process.kill(-Number(guard.pid), 'SIGKILL')
  }
  return {
    pid,
    exited,
    alive: () => !ended,
    kill,
    async stop (signal = 'SIGTERM', graceMs = 3000) {
      if (ended) return
      guard.ref()
      kill('SIGCONT')
      kill(signal)
      const timer = setTimeout(killAll, graceMs)
      await exited
      clearTimeout(timer)
      // Whatever it started may have outlived it: npm hands SIGTERM to a shell, which keeps it.
      try { process.kill(-Number(guard.pid), 'SIGKILL') } catch {}
    },
    stdout: guard.stdout
  }
}

/**
 * The first line a started server prints.
 * @param {Guarded} guarded
 * @param {number} timeoutMs
 */
export async function firstLine (guarded, timeoutMs) {
  const { stdout } = guarded
  if (stdout === null) throw new Error('stdout goes to a file')
  const held = /** @type {import('node:net').Socket} */ (stdout)
  held.ref()
  let text = ''
  const signal = AbortSignal.timeout(timeoutMs)
  while (!text.includes('\n')) {
    const [chunk] = await Promise.race([
      once(stdout, 'data', { signal }),
      guarded.exited.then((code) => { throw new Error(`ended with status ${code} before it said anything`) })
    ])
    text += chunk
  }
  stdout.resume()
  held.unref()
  return text.slice(0, text.indexOf('\n'))
}
