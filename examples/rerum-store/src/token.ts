import { createSigner } from 'fast-jwt'
import { withFiles } from 'server-kit'
import { jwtSecret } from './config.ts'

// npm run token -- AGENT [admin]     a token for development, valid for a day

const [agent = 'https://example.org/agents/developer', role] = process.argv.slice(2)
const sign = createSigner({ key: jwtSecret(withFiles(process.env), 'development'), algorithm: 'HS256', expiresIn: 86_400_000 })
process.stdout.write(`${sign({ sub: agent, ...(role === 'admin' && { role }) })}\n`)
