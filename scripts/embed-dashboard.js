import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Puts the files of the dashboard into a module, so that a bundler takes them along. @param {string} root the checkout */
export function embedDashboard (root) {
  const folder = join(root, 'packages/cluster-metrics/dashboard')
  const target = join(folder, 'files.js')
  const names = readdirSync(folder).filter((name) => !name.startsWith('files.')).sort()
  const lines = names.map((name) => `  ${JSON.stringify(name)}: ${JSON.stringify(readFileSync(join(folder, name), 'utf8'))}`)
  const text = `// Made of the files beside it by scripts/embed-dashboard.js.\nexport const files = {\n${lines.join(',\n')}\n}\n`
  if (!existsSync(target) || readFileSync(target, 'utf8') !== text) writeFileSync(target, text)
}
