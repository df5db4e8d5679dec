/** Each says where Redis is; the others of its variables only add to it (examples/server-kit/src/redis.ts). */
const NAMING = ['REDIS_URL', 'REDIS_HOST', 'REDIS_NODES', 'REDIS_SENTINELS']

/** @param {NodeJS.ProcessEnv} env @param {string} name */
const isSet = (env, name) => Boolean(env[name]?.trim())

/** Whether somebody has set which Redis the site uses, so that none is provided. @param {NodeJS.ProcessEnv} env */
export function namesRedis (env) {
  return isSet(env, 'REDIS_MODE') || NAMING.some((name) => isSet(env, name))
}

/** Whether somebody has set which MongoDB the site uses. @param {NodeJS.ProcessEnv} env */
export function namesMongo (env) {
  return isSet(env, 'MONGODB_URI')
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
  const { MONGODB_URI: _uri, ...others } = withoutRedis(env)
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
    MONGODB_URI: namesMongo(env) ? env.MONGODB_URI : servers.MONGODB_URI
  }
}
