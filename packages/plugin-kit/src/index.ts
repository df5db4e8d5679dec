/** Milliseconds in one day: durations of options end in `Ms`. */
export const DAY_MS = 24 * 3600 * 1000
