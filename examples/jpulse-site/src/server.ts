import 'server-kit/rotation'
import { FST_ERR_REDIS_LINK_INVALID_OPTION } from '@jpulse/redis-link'
import { checkHost, ConfigError, endGracefully } from 'server-kit'
import { buildApp } from './app.ts'
import { loadConfig } from './config.ts'
import { prepare, warmUp } from './prepare.ts'

/** EX_CONFIG of sysexits: PM2 does not restart a worker that ends with it (ecosystem.config.cjs). */
const CONFIG_ERROR = 78

try {
  const config = loadConfig()
  await checkHost(config.host)
  // For systemd, which wants to know before PM2 starts (deploy/jpulse-site.service).
  if (process.argv[2] === '--check') process.exit()
  const app = await buildApp(config)
  endGracefully(app)
  await app.ready()
  prepare(app, config)
  await app.listen({ port: config.port, host: config.host })
  process.send?.('ready')
  warmUp(app)
} catch (err) {
  const misconfigured = isMisconfiguration(err)
  process.stderr.write(`${misconfigured ? err.message : (err as Error).stack}\n`)
  process.exit(misconfigured ? CONFIG_ERROR : 1)
}

/** The site's own configuration, or what of it a plugin refused. */
function isMisconfiguration (err: unknown): err is Error {
  return err instanceof ConfigError || err instanceof FST_ERR_REDIS_LINK_INVALID_OPTION
}
