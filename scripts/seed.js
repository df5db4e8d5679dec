import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT, run } from './bootstrap.js'

// npm run seed [COUNT]   fills the listing of the site that REDIS_URL and MONGODB_URI name; 10,000 people where no count is given

bootstrap()
run(process.execPath, [join(ROOT, 'examples/jpulse-site/dist/seed.js'), ...process.argv.slice(2)], cleanEnv())
