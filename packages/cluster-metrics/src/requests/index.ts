export { History } from './history.ts'
export { Minutes, minutesOf, type Counts } from './minutes.ts'
export { leaveOut, Recorder } from './recorder.ts'
