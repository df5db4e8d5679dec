import type { FastifyInstance, InjectOptions } from 'fastify'
import { createSigner } from 'fast-jwt'
import { serversEnv, type Scope } from '../../../test/helpers/index.ts'
import { buildApp } from '../src/app.ts'
import { DEVELOPMENT_SECRET, loadConfig } from '../src/config.ts'

const sign = createSigner({ key: DEVELOPMENT_SECRET, algorithm: 'HS256', expiresIn: 86_400_000 })
const signAsIs = createSigner({ key: DEVELOPMENT_SECRET, algorithm: 'HS256' })
export const tokenFor = (agent: string, more: object = {}): string => ('exp' in more ? signAsIs : sign)({ sub: agent, ...more })
export const ALICE = 'https://example.org/agents/alice'
export const BOB = 'https://example.org/agents/bob'

/** A quarantine this short lets caching begin soon. */
export const SHORT_BLOCK_MS = 1500

/** The store in this process, not listening. It closes with the test. */
export async function store (t: Scope, env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await buildApp(loadConfig({ ...await serversEnv(t), LOG_LEVEL: process.env.STORE_LOG ?? 'silent', SERVER_ID: '025', CACHE_BLOCK_TTL_MS: String(SHORT_BLOCK_MS), PUBLIC_URL: 'http://store.test', ...env }))
  t.teardown(() => app.close())
  return app
}

/** Requests as an agent, with what they answer as JSON. */
export const caller = (app: FastifyInstance, agent: string = ALICE) => async (method: InjectOptions['method'], path: string, body?: unknown, headers: Record<string, string> = {}) => {
  const response = await app.inject({
    method: method!,
    url: `/v1${path}`,
    headers: { authorization: `Bearer ${tokenFor(agent)}`, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { payload: JSON.stringify(body) })
  })
  const json = response.body === '' ? undefined : response.json()
  // A write says its object twice (new_obj_state); the tests compare it once.
  const state = json?.new_obj_state
  if (state !== undefined) delete json.new_obj_state
  return { status: response.statusCode, headers: response.headers, text: response.body, json, state }
}

export const idOf = (object: { '@id': string }): string => object['@id'].slice(object['@id'].lastIndexOf('/') + 1)
