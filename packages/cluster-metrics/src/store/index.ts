export { replaceVersioned } from './scripts.ts'
export { Store, type Found } from './store.ts'
