import { deadline } from '@jpulse/plugin-kit'
import type { Monitor } from './monitor.ts'

/**
 * Waits for Redis at the boot. Resolves when it is up, when waiting longer makes no sense, or after `ms`.
 *
 * @param mayChange whether what Redis refuses for good it may take at the next try
 */
export function firstAnswer (monitor: Monitor, ms: number, mayChange: boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = deadline(ms, done)
    const isOver = (err: Error | undefined): boolean => !mayChange && isFinal(err)
    const onDown = (err: Error | undefined): void => { if (isOver(err)) done() }
    function done (): void {
      stop()
      monitor.off('up', done)
      monitor.off('down', onDown)
      resolve()
    }
    monitor.on('up', done)
    monitor.on('down', onDown)
    if (isOver(monitor.error)) done()
  })
}

/** A wrong password or certificate does not become right by waiting. */
function isFinal (err: Error | undefined): boolean {
  return err !== undefined && /^(WRONGPASS|NOAUTH)|invalid password|certificate/i.test(err.message)
}
