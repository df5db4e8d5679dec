// The door of the places where documents live.
export { memorySource } from './memory.ts'
export { mongoSource, type MongoDatabase, type MongoSourceOptions } from './mongo.ts'
export type { ConfigDocument, ConfigSource, LoaderContext } from './source.ts'
