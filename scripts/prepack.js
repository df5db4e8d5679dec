import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, run } from './bootstrap.js'
import { embedDashboard } from './embed-dashboard.js'

// Runs before a package is packed, in its folder: what leaves has been built, and names its siblings by their versions.

if (!(process.env.npm_config_user_agent ?? '').startsWith('pnpm/')) {
  process.stderr.write('npm leaves workspace:^ where the version of a sibling must stand. Pack and publish with pnpm: pnpm pack, pnpm publish.\n')
  process.exit(1)
}
if (process.cwd().endsWith('cluster-metrics')) embedDashboard(ROOT)
const force = existsSync(join(process.cwd(), 'dist')) ? [] : ['--force']
run(process.execPath, [join(ROOT, 'node_modules/typescript-native/bin/tsc'), '-b', process.cwd(), ...force])

// The compiler leaves what it made of sources that are gone.
for (const file of existsSync('src') ? readdirSync('dist', { recursive: true, encoding: 'utf8' }) : []) {
  const source = file.replace(/(\.d)?\.ts(\.map)?$|\.js(\.map)?$/, '.ts')
  if (source !== file && !existsSync(join('src', source))) rmSync(join('dist', file))
}
