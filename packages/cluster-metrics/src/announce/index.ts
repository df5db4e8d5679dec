export { Announcer, Listeners, type Look } from './announcer.ts'
export type { HealthEvent, HealthEvents, HealthStatus } from './events.ts'
export { Webhook, type WebhookOptions } from './webhook.ts'
