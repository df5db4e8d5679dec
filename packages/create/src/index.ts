export { create, CreateError, type CreateOptions } from './create.ts'
export { FEATURES } from './features/index.ts'
export type { Feature } from './feature.ts'
