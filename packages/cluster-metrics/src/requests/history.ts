import { emptyHistogram, toSparse, type InstanceFacts, type Point } from '../formats/index.ts'
import type { Recorder } from './recorder.ts'

const MOST_POINTS = 400

/** The points of this process, in memory for the time without Redis. */
export class History {
  readonly points: Array<[at: number, point: Point]> = []
  #requests = 0
  #errors = 0
  #latency = emptyHistogram()

  /** Makes the point since the last call. */
  take (recorder: Recorder, { cpu, eventLoop, processInfo, websockets, version, release }: InstanceFacts, now: number): Point {
    const point = {
      requests: recorder.requests - this.#requests,
      errors: recorder.errors - this.#errors,
      active: recorder.active,
      cpu,
      rss: Math.round(processInfo.memoryUsage.rss / 2 ** 20),
      delay: eventLoop.delay.p99,
      sockets: websockets.localConnections,
      latency: toSparse(recorder.latency, undefined, this.#latency),
      version: [version, release].filter(Boolean).join(' ')
    }
    this.#requests = recorder.requests
    this.#errors = recorder.errors
    this.#latency = recorder.latency.slice()
    this.points.push([now, point])
    if (this.points.length > MOST_POINTS) this.points.shift()
    return point
  }
}
