export { Announcer, Listeners, type ClusterView } from './announcer.ts'
export type { HealthEvent, HealthEvents, HealthStatus } from './events.ts'
export { areHeaders, Webhook, type WebhookOptions } from './webhook.ts'
