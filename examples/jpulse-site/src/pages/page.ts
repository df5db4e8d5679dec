import type { DashboardFrame } from '@jpulse/cluster-metrics'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { maybeViewer } from '../auth/viewer.ts'
import { Type } from 'typebox'
import { raw } from '../html.ts'
import { Page, PageFailure } from '../schemas.ts'
import { layout, type Layout } from './layout.ts'

type PageView = Omit<Layout, 'worker' | 'viewer' | 'footer'>

/** What each page of administrators but the first has. */
export const ADMIN_PAGE = { path: '/admin/', back: { path: '/admin/', label: 'Admin' } } as const

/** Sends a page. */
export async function sendPage (app: FastifyInstance, request: FastifyRequest, reply: FastifyReply, page: PageView): Promise<FastifyReply> {
  return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(await pageText(app, request, page))
}

/** A page, with who looks at it and who served it. */
async function pageText (app: FastifyInstance, request: FastifyRequest, page: PageView): Promise<string> {
  const viewer = maybeViewer(app, request)
  const footer = await footerOf(app)
  const text = layout({ ...page, worker: app.identity.instanceId, viewer, footer }).toString()
  return viewer === 'unknown' ? text : app.guardForms(request, text)
}

/** The dashboard of cluster-metrics as a page of the site. */
export const dashboardFrame: DashboardFrame = (request, { head, body }) =>
  pageText(request.server, request, { ...ADMIN_PAGE, title: 'Cluster · jPulse', wide: true, head: raw(head), content: raw(body) })

/** What an administrator wrote for the foot of each page. */
async function footerOf (app: FastifyInstance): Promise<string> {
  const site = await app.configCache.get('site', { collection: 'config' }).catch(() => null) as { footer?: unknown } | null
  return typeof site?.footer === 'string' ? site.footer : ''
}

/** Schema of the responses of a page, and of a form that leads to one. */
export const pageResponses = { 200: Page, 303: Type.Null(), '4xx': PageFailure, 503: PageFailure }

/** A path of this site to go on with; anything else would send a visitor to somebody else's. */
export function ownPath (next: unknown): string {
  if (typeof next !== 'string' || !/^\/(?![/\\])[^\s\\]{0,500}$/.test(next)) return '/'
  const base = 'http://own.invalid'
  return URL.canParse(next, base) && new URL(next, base).origin === base ? next : '/'
}

/** Sends a visitor to sign in, and back afterwards; where the query is longer than a form takes, without it. */
export function toSignIn (reply: FastifyReply, next: string): FastifyReply {
  const [path] = next.split('?', 1)
  return reply.redirect(`/sign-in?next=${encodeURIComponent(ownPath(next) === next ? next : ownPath(path))}`, 303)
}
