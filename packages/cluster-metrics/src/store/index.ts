export { replaceVersioned } from './scripts.ts'
export { Store } from './store.ts'
