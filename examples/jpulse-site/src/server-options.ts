import type { Server } from 'node:http'
import { type FastifyHttpOptions, LogController } from 'fastify'
import { answerClientError, openLog } from 'server-kit'
import type { SiteConfig } from './config.ts'
import { withoutBase } from './plugins/base-path.ts'
import { sendError } from './plugins/errors.ts'

/** What browsers may load: this site's own files, and nothing inline. `'self'` covers WebSockets to the same host. */
export const CONTENT_SECURITY_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"]
  }
}

/** What no hook sees, of which helmet is one, such as an address that cannot be decoded. */
const WITHOUT_HOOKS = {
  'content-security-policy': Object.entries(CONTENT_SECURITY_POLICY.directives).map(([name, values]) => `${name.replaceAll(/[A-Z]/g, '-$&').toLowerCase()} ${values.join(' ')}`).join(';'),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin'
}

/** Bytes of a request's headers: more than nginx lets through and adds (deploy/nginx.conf: large_client_header_buffers). */
const HEADERS_MAX = 64 * 1024

export function serverOptions ({ basePath, identity, logFile, logLevel, trustProxy }: SiteConfig): FastifyHttpOptions<Server> {
  return {
    logger: { level: logLevel, ...(logFile !== undefined && { stream: openLog(logFile) }) },
    logController: new LogController({ disableRequestLogging: logLevel !== 'debug' && logLevel !== 'trace' }),
    trustProxy: typeof trustProxy === 'object' ? [...trustProxy] : trustProxy,
    http: { maxHeaderSize: HEADERS_MAX },
    // nginx names each request, in its own log and to the site. Once a proxy is trusted the name is taken from every peer, so only the proxy should reach the port.
    requestIdHeader: trustProxy === false ? false : 'x-request-id',
    rewriteUrl: ({ url = '/' }) => withoutBase(basePath, url),
    // A worker that drains still answers: its clients leave with `connection: close`.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerClientError(error, socket, { worker: identity.instanceId, code: 'FST_ERR_SITE_BAD_REQUEST' }),
    frameworkErrors: (error, request, reply) => sendError(error, request, reply.headers({ 'x-worker': identity.instanceId, ...WITHOUT_HOOKS }))
  }
}
