export { dashboardRoutes } from './dashboard.ts'
export { healthRoutes } from './health.ts'
export { metricsRoutes, revealingRoutes } from './metrics.ts'
export { prometheusRoutes } from './prometheus.ts'
