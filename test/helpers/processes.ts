import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export interface ProcessInfo {
  pid: number
  command: string
}

/**
 * Living processes whose environment holds a text, such as a folder of the test's own that it gave to a child: the
 * child, and all that descends from it, also what no longer has a parent to be found by. Zombies are dead.
 */
export function processesWith (marker: string): ProcessInfo[] {
  return (existsSync('/proc/self/environ') ? fromProc(marker) : fromPs(marker)).filter(({ pid }) => pid !== process.pid)
}

function fromProc (marker: string): ProcessInfo[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      // A zombie's environment is empty.
      if (!readFileSync(`/proc/${name}/environ`, 'utf8').includes(marker)) return []
      return [{ pid: Number(name), command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() }]
    } catch {
      return []
    }
  })
}

function fromPs (marker: string): ProcessInfo[] {
  const lines = execFileSync('ps', ['-AwwE', '-o', 'pid=,stat=,command='], { encoding: 'utf8', maxBuffer: 2 ** 26 }).split('\n')
  return lines.filter((line) => line.includes(marker)).flatMap((line) => {
    const [, pid, state = '', command = ''] = /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    return state.startsWith('Z') ? [] : [{ pid: Number(pid), command }]
  })
}
