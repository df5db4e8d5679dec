import type { ConformanceCase } from './conformance/case.ts'
import { sessionCases } from './conformance/sessions.ts'
import { timeCases } from './conformance/times.ts'

export type { ConformanceCase }

/**
 * The contract of a session store, as cases to run with any test runner. Each takes a store of its own, made with the
 * case's lifetimes:
 *
 * ```ts
 * for (const { name, lifetimes, run } of storeConformance) test(name, () => run(new MyStore(lifetimes)))
 * ```
 */
export const storeConformance: readonly ConformanceCase[] = Object.freeze([...sessionCases, ...timeCases])
