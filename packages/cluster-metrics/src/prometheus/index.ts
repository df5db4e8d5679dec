export { clusterText, instanceText } from './scrape.ts'
export { CONTENT_TYPES, type Format } from './text.ts'
