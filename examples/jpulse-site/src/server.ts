import { buildApp } from './app.ts'
import { loadConfig } from './config.ts'
import { ConfigError } from './errors.ts'
import { endGracefully } from './shutdown.ts'

/** EX_CONFIG of sysexits: PM2 does not restart a worker that ends with it (ecosystem.config.cjs). */
const CONFIG_ERROR = 78

try {
  const config = loadConfig()
  const app = await buildApp(config)
  endGracefully(app)
  await app.listen({ port: config.port, host: config.host })
  process.send?.('ready')
} catch (err) {
  process.stderr.write(`${err instanceof ConfigError ? err.message : (err as Error).stack}\n`)
  process.exit(err instanceof ConfigError ? CONFIG_ERROR : 1)
}
