/** Milliseconds of the process' monotonic clock: the only clock that a promise of this package depends on. */
export const now = (): number => performance.now()

/** How long to wait here until `ms` have passed on another machine's monotonic clock as well: a margin of 2% and 50 ms. */
export const withDrift = (ms: number): number => ms * 1.02 + 50

/** Resolves after a pause. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)) })

/** As `pause`, with a timer that does not keep the process running. */
export const idle = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)).unref() })

/** The longest duration that is taken anywhere: a year. */
export const LONGEST_MS = 365 * 86_400_000

/** A TTL with jitter: less a random share of it, so that values loaded together do not expire together. A whole number, as Redis wants it. */
export const shortened = (ms: number, share: number): number => share === 0 ? ms : Math.max(1, Math.round(ms * (1 - share * Math.random())))
