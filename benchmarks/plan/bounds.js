/** The plan's rows, in its order, with its bounds in milliseconds. */
export const BOUNDS = {
  'session read': 1,
  'session write': 2,
  'config, in the process': 0.1,
  'config, from Redis': 2,
  'config, from MongoDB': 50,
  'WebSocket broadcast, in all': 5,
  'health write': 2,
  aggregation: 50
}
