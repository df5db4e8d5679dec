import { bootstrap, bootstrapSite, say } from '../bootstrap.js'
import { CannotProvide, redisBinary } from '../servers/binaries.js'
import { namesRedis } from './given.js'

// The slow and blocking part of `npm start` (install, build, fetch Redis), in a process of its own that a signal
// can end at once.

/** Exit status: a server can be neither found nor provided. */
const CANNOT_PROVIDE = 3

if (!await bootstrapSite()) bootstrap()
if (!process.argv.includes('--embedded')) {
  try {
    if (!namesRedis(process.env)) redisBinary(say)
  } catch (err) {
    if (!(err instanceof CannotProvide)) throw err
    process.stderr.write(`${err.message}\n`)
    process.exitCode = CANNOT_PROVIDE
  }
}
