import { el, keyed } from './dom.js'

/** How bad something is: the worst first. */
const WORST = ['error', 'degraded', 'ok']

/** Words and a shape: colour alone says nothing to some. */
export function readiness ({ status, health }) {
  if (status !== 'online') return `○ ${status}`
  return { ok: '● ready', degraded: '▲ degraded', error: '■ not ready' }[health?.status] ?? '● online'
}

/** For sorting: the worst first, and who leaves last. */
export const severity = ({ status, health }) => status === 'online' ? WORST.indexOf(health?.status ?? 'ok') : WORST.length

const isDown = ([, { status }]) => !['up', 'disabled'].includes(status)

export function checkState ({ status, critical }) {
  const shape = status === 'up' ? '●' : status === 'disabled' ? '○' : critical ? '■' : '▲'
  return `${shape} ${status}${critical ? ', critical' : ''}`
}

/** One cell: what is down by name, else how many are up. */
export function checksOf ({ health }) {
  const checks = Object.entries(health?.checks ?? {})
  const down = checks.filter(isDown)
  if (down.length > 0) return down.map(([name, check]) => `${check.critical ? '■' : '▲'} ${name} ${check.status}`).join(', ')
  return checks.length === 0 ? '–' : `● ${checks.filter(([, { status }]) => status === 'up').length} up`
}

/** Everything that is down on some instances. */
export function downChecks (instances) {
  return instances.flatMap(({ instanceId, bootId, health }) => Object.entries(health?.checks ?? {}).filter(isDown)
    .map(([check, { status, critical }]) => keyed(`${bootId} ${check}`, el('div', 'error', el('div', 'message', `${critical ? '■' : '▲'} ${check} is ${status} on ${instanceId}`),
      el('div', 'muted small', critical ? 'The instance is not ready.' : 'The instance is degraded.')))))
}
