import { buildApp } from './app.ts'
import { loadConfig } from './config.ts'
import { seed } from './prepare.ts'

// npm run seed: fills the listing up to a number of people, and ends.

const count = Number(process.argv[2] ?? 10_000)
if (!Number.isSafeInteger(count) || count < 0) throw new Error('usage: npm run seed [COUNT]')
const config = loadConfig()
if (config.mongoUri === undefined) throw new Error('MONGODB_URI must name the database to fill')
const app = await buildApp(config)
await app.ready()
const added = await seed(app, count)
process.stdout.write(`${added} people added\n`)
await app.close()
