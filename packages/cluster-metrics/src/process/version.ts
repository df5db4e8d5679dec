import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * Version of the application: that of the nearest package.json above the script that was started, whoever started it. What npm says
 * comes last: PM2 keeps the environment in which it was started through all reloads.
 */
export function versionOf (env: NodeJS.ProcessEnv, script = env.pm_exec_path ?? process.argv[1]): string | null {
  const starts = [...script === undefined ? [] : [outsideOfModules(script)], env.pm_cwd ?? process.cwd()]
  return starts.map(nearest).find((version) => version !== null) ?? (env.npm_package_version?.slice(0, 100) || null)
}

/** A runner such as fastify-cli lies among the modules of the application. */
function outsideOfModules (script: string): string {
  const [folder, ...rest] = script.split(/[\\/]node_modules[\\/]/)
  return rest.length === 0 ? dirname(script) : folder!
}

function nearest (start: string): string | null {
  for (let folder = start; ; folder = dirname(folder)) {
    const version = versionIn(folder)
    if (version !== null || folder === dirname(folder)) return version
  }
}

function versionIn (folder: string): string | null {
  try {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: unknown }
    return typeof version === 'string' && version !== '' ? version.slice(0, 100) : null
  } catch {
    return null
  }
}
