import { readFileSync } from 'node:fs'
import { availableParallelism, freemem, totalmem } from 'node:os'
import { join } from 'node:path'

/** What the process may use. */
export interface Machine {
  cpus: number
  /** Bytes. */
  totalMemory: number
  freeMemory: number
}

/** Limits of the process' control group; null where there is none. */
interface Limits {
  cpus: number | null
  memory: number | null
  /** Bytes in use. */
  used: number | null
}

/** A container shows the host's files: what it may use stands in its control group. */
export function machine (root = '/'): Machine {
  const { cpus, memory, used } = limits(root)
  const total = totalmem()
  const limited = memory !== null && memory < total
  return {
    cpus: Math.min(availableParallelism(), cpus ?? Infinity),
    totalMemory: limited ? memory : total,
    freeMemory: limited ? Math.max(0, Math.min(memory - (used ?? 0), freemem())) : freemem()
  }
}

/** Of version 2 or 1; the process' own group first, for systemd's services, whose limits are not at the root. */
function limits (root: string): Limits {
  const read = (...path: string[]) => {
    try {
      return readFileSync(join(root, ...path), 'utf8').trim()
    } catch {
      return null
    }
  }
  const lines = read('proc/self/cgroup')?.split('\n') ?? []
  const own = (controller: string) => lines.map((line) => line.split(':')).find(([, names]) => names?.split(',').includes(controller) === true)?.[2] ?? ''
  const smallest = (...values: Array<number | null>) => values.reduce((least, one) => one === null || (least !== null && least <= one) ? least : one, null)
  const groups = parents(own(''))
  const quota = (text: string | null) => {
    const [most, period] = text?.split(/\s+/) ?? []
    return Number(most) > 0 && Number(period) > 0 ? Number(most) / Number(period) : null
  }
  const v1 = (controller: string, file: string) => smallest(...parents(own(controller)).map((group) => number(read('sys/fs/cgroup', controller, group, file))))
  const v1Cpus = quota(`${v1('cpu', 'cpu.cfs_quota_us')} ${v1('cpu', 'cpu.cfs_period_us')}`)
  return {
    cpus: smallest(...groups.map((group) => quota(read('sys/fs/cgroup', group, 'cpu.max'))), v1Cpus),
    memory: smallest(...groups.map((group) => number(read('sys/fs/cgroup', group, 'memory.max'))), v1('memory', 'memory.limit_in_bytes')),
    used: inUse(read, groups.map((group) => join('sys/fs/cgroup', group)), 'memory.current') ?? inUse(read, parents(own('memory')).map((group) => join('sys/fs/cgroup/memory', group)), 'memory.usage_in_bytes')
  }
}

/** Without what is only a copy of files and is given back when somebody needs the room, as Docker and Kubernetes count it. */
function inUse (read: (...path: string[]) => string | null, groups: string[], file: string): number | null {
  for (const group of groups) {
    const bytes = number(read(group, file))
    if (bytes === null) continue
    const stat = read(group, 'memory.stat') ?? ''
    const [, copies = '0'] = /^total_inactive_file (\d+)$/m.exec(stat) ?? /^inactive_file (\d+)$/m.exec(stat) ?? []
    return Math.max(0, bytes - Number(copies))
  }
  return null
}

const number = (text: string | null): number | null => text !== null && /^\d+$/.test(text) ? Number(text) : null

/** A group and those that it lies in, the root last. */
function parents (group: string): string[] {
  const parts = group.split('/').filter((part) => part !== '' && part !== '..')
  return [...parts.map((_, index) => parts.slice(0, parts.length - index).join('/')), '']
}
