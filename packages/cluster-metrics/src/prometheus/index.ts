export { clusterText, instanceText } from './families.ts'
