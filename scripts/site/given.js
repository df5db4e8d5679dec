import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/** Each says where Redis is; the others of its variables only add to it (examples/server-kit/src/redis.ts). */
const NAMING = ['REDIS_URL', 'REDIS_HOST', 'REDIS_NODES', 'REDIS_SENTINELS']

/** Whether a variable is set, also in a file of its own. @param {NodeJS.ProcessEnv} env @param {string} name */
const isSet = (env, name) => [name, `${name}_FILE`].some((one) => Boolean(env[one]?.trim()))

/** The variables of ENV_FILE go before the environment; the site says it where it cannot read it. @param {NodeJS.ProcessEnv} env @returns {NodeJS.ProcessEnv} */
function withFile (env) {
  const path = env.ENV_FILE?.trim()
  if (!path) return env
  try {
    return { ...env, ...parseEnv(readFileSync(path, 'utf8').replace(/^\uFEFF/, '')) }
  } catch {
    return env
  }
}

/** Whether somebody has set which Redis the site uses, so that none is provided. @param {NodeJS.ProcessEnv} env */
export function namesRedis (env) {
  const given = withFile(env)
  return isSet(given, 'REDIS_MODE') || NAMING.some((name) => isSet(given, name))
}

/** Whether somebody has set which MongoDB the site uses. @param {NodeJS.ProcessEnv} env */
export function namesMongo (env) {
  return isSet(withFile(env), 'MONGODB_URI')
}

/** The variables that say which Redis the site uses, and how. @param {NodeJS.ProcessEnv} env */
export function redisOf (env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('REDIS_')))
}

/** @param {NodeJS.ProcessEnv} env */
function withoutRedis (env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('REDIS_')))
}

/** @param {NodeJS.ProcessEnv} env */
export function withoutServers (env) {
  const { MONGODB_URI: _uri, MONGODB_URI_FILE: _file, ...others } = withoutRedis(env)
  return others
}

/**
 * An environment, with what it does not name taken from the servers of an `npm start`.
 * @param {NodeJS.ProcessEnv} env
 * @param {NodeJS.ProcessEnv} servers
 */
export function withServers (env, servers) {
  return {
    // A password that came without a server is not this server's.
    ...(namesRedis(env) ? env : { ...withoutRedis(env), ...redisOf(servers) }),
    ...(!namesMongo(env) && { MONGODB_URI: servers.MONGODB_URI, MONGODB_URI_FILE: servers.MONGODB_URI_FILE })
  }
}
