export { ErrorLog } from './error-log.ts'
export { Faults } from './faults.ts'
export { redact, redactJson } from './redact.ts'
