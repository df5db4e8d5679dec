import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Where a process lives, as "<pid>@<place>". Two processes of one place see each other's pids: one boot of one kernel and
 * one pid namespace on Linux (proc(5), pid_namespaces(7)), the host name elsewhere.
 */
export function hostOf (pid = process.pid): string {
  return `${pid}@${place}`
}

const place = readPlace()

function readPlace (): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot}:${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]}`
  } catch {
    return `${hostname()}:${process.platform}`.replaceAll(/\s/g, '-')
  }
}

/** Whether the process is certainly gone. A pid that was given to another process counts as alive, which is safe. */
export function isDead (host: string): boolean {
  const at = host.indexOf('@')
  if (host.slice(at + 1) !== place) return false
  try {
    process.kill(Number(host.slice(0, at)), 0)
    return false
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
