export { History } from './history.ts'
export { Minutes, minutesOf, type Counts } from './minutes.ts'
export { Recorder } from './recorder.ts'
