// The door of the levels that a read passes.
export { L1 } from './l1.ts'
export { RedisL2 } from './l2.ts'
export { LastKnown, type Fallback } from './last-known.ts'
export { Reads, type Fill, type Wanted } from './reads.ts'
