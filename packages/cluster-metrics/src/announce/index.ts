export { Announcer, Listeners, type ClusterView } from './announcer.ts'
export type { HealthEvent, HealthEvents, HealthStatus } from './events.ts'
export { Webhook, type WebhookOptions } from './webhook.ts'
