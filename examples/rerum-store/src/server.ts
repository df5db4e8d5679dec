import 'server-kit/rotation'
import { FST_ERR_REDIS_LINK_INVALID_OPTION } from '@jpulse/redis-link'
import { checkHost, ConfigError, endGracefully } from 'server-kit'
import { buildApp } from './app.ts'
import { loadConfig } from './config.ts'

/** EX_CONFIG of sysexits: PM2 does not restart a worker that ends with it (ecosystem.config.cjs). */
const CONFIG_ERROR = 78

try {
  const config = loadConfig()
  await checkHost(config.host)
  // Before PM2 replaces the workers that serve: it does so whether or not their successors come up.
  if (process.argv[2] === '--check') process.exit()
  const app = await buildApp(config)
  endGracefully(app)
  await app.listen({ port: config.port, host: config.host })
  process.send?.('ready')
} catch (err) {
  const misconfigured = err instanceof ConfigError || err instanceof FST_ERR_REDIS_LINK_INVALID_OPTION
  process.stderr.write(`${misconfigured ? err.message : (err as Error).stack}\n`)
  process.exit(misconfigured ? CONFIG_ERROR : 1)
}
