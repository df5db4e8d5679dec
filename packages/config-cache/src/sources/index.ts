// The door of the places where documents live.
export { watchChanges, type Change, type Changes, type Watched, type Watcher, type WatchOptions, type WatchState } from './changes.ts'
export { memorySource } from './memory.ts'
export { mongoSource, type MongoDatabase, type MongoSourceOptions } from './mongo.ts'
export type { ConfigDocument, ConfigSource, LoaderContext } from './source.ts'
