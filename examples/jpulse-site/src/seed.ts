import { ConfigError } from 'server-kit'
import { buildApp } from './app.ts'
import { loadConfig } from './config.ts'
import { seed } from './prepare.ts'

// npm run seed: fills the listing up to a number of people, and ends.

try {
  const count = Number(process.argv[2] ?? 10_000)
  if (!Number.isSafeInteger(count) || count < 0) throw new ConfigError('usage: npm run seed [COUNT]')
  const config = loadConfig()
  if (config.mongoUri === undefined) throw new ConfigError('MONGODB_URI must name the database to fill')
  // Into the file of the service writes nobody who may have another user.
  const app = await buildApp({ ...config, logFile: undefined })
  await app.ready()
  const added = await seed(app, count)
  process.stdout.write(`${added} people added\n`)
  await app.close()
} catch (err) {
  process.stderr.write(`${err instanceof ConfigError ? err.message : (err as Error).stack}\n`)
  process.exit(1)
}
