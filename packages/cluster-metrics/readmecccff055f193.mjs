import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { clusterMetrics } from '@jpulse/cluster-metrics'


const app = Fastify()
app.register(redisLink)
app.register(clusterBroadcast)
await app.register(clusterMetrics, { webhook: { url: process.env.ALERT_URL, secret: process.env.ALERT_SECRET } })
app.clusterMetrics.on('down', ({ subject, instanceId, check, reason }) => { app.log.fatal({ subject, instanceId, check, reason }) })

console.log(app.clusterMetrics.listenerCount('down'))
await app.close()
