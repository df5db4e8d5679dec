/** Milliseconds of the process' monotonic clock: the only clock that a promise of this package depends on. */
export const now = (): number => performance.now()

/** How long to wait until `ms` are over on another machine's clock as well: 2% for drift, and 50 ms. */
export const surely = (ms: number): number => ms * 1.02 + 50

/** Resolves after a pause. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)) })

/** A pause that keeps no process alive. */
export const idle = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)).unref() })

/** The longest duration that is taken anywhere: a year. */
export const LONGEST_MS = 365 * 86_400_000

/** A life less a share of it that chance decides, so that what was loaded together does not end together. A whole number, as Redis wants it. */
export const shortened = (ms: number, share: number): number => share === 0 ? ms : Math.max(1, Math.round(ms * (1 - share * Math.random())))
