export { acceptOnly, callSafely, callWithin, deadline, emitSafely, isThenable, textOf, within, type OnFault } from './calls.ts'
export { Deadlines, type Awaited } from './deadlines.ts'
export { LogThrottle } from './log-throttle.ts'
export { checkCall, checker, type Checker } from './options/checker.ts'
export { callback, opaque } from './options/opaque.ts'
export { problemOf, type Problem } from './options/problem.ts'
export { wantedOf } from './options/wanted.ts'
export { isOneOfSeveral, mayHaveSiblings } from './processes.ts'
export { answers, Failure, failures, ok, Success } from './routes/envelope.ts'
export { answerFailure, tellOf, type Told } from './routes/failure.ts'
export { guard, isAuthorized, isRefusal, isSomebody, type Authorize, type Refusals } from './routes/guard.ts'
export { prepareScope } from './routes/scope.ts'
export { Turn } from './turn.ts'
export { isPlain, jsonOf, lossOf } from './values.ts'

/** Milliseconds in one day: durations of options end in `Ms`. */
export const DAY_MS = 24 * 3600 * 1000
