/** Milliseconds of the process' monotonic clock: the only clock that a promise of this package depends on. */
export const now = (): number => performance.now()

/** How long to wait until `ms` are over on another machine's clock as well: 2% for drift, and 50 ms. */
export const surely = (ms: number): number => ms * 1.02 + 50

/** Resolves after a pause. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)) })

/** A pause that keeps no process alive. */
export const idle = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)).unref() })
