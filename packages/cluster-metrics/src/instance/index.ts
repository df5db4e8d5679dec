export { Local } from './local.ts'
export { Reporter } from './reporter.ts'
