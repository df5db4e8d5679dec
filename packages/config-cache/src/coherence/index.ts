// The door of what keeps the instances of a site coherent.
export type { Coherence } from './coherence.ts'
export type { DocumentClaim } from './document-claim.ts'
export { fieldsOf } from './keys.ts'
export { LocalCoherence } from './local.ts'
export { stored } from './messages.ts'
export { RedisCoherence, type SharedState } from './redis.ts'
export { generationsScript } from './scripts.ts'
export { View, type Load } from './view.ts'
