import type { FastifyInstance } from 'fastify'

/** Below PM2's kill_timeout of 6000 ms, so that the worker and not SIGKILL decides how it ends. */
const DEADLINE_MS = 5500

/** The terminal tells the worker of Ctrl-C, and npm, which hands it on: signals this close are one. */
const ONE_INTERRUPT_MS = 1000

/**
 * Drains the worker at SIGTERM, SIGINT (Ctrl-C, and what PM2 sends) or PM2's 'shutdown' message, and ends it with 0.
 * A second signal ends it at once.
 */
export function endGracefully (app: FastifyInstance): void {
  let signals = 0
  let interruptedAt = -Infinity

  const end = async (why: string, status: number) => {
    app.log.info({ why }, 'draining')
    setTimeout(() => {
      app.log.error(`not drained within ${DEADLINE_MS} ms`)
      process.exit(1)
    }, DEADLINE_MS).unref()
    try {
      await app.drain.start()
    } catch (err) {
      app.log.error({ err }, 'the drain failed')
      process.exit(1)
    }
    process.exit(status)
  }

  const onSignal = (signal: NodeJS.Signals) => {
    if (signal === 'SIGINT') {
      const isSame = performance.now() - interruptedAt < ONE_INTERRUPT_MS
      if (isSame) return
      interruptedAt = performance.now()
    }
    if (++signals > 1) process.exit(1)
    if (!app.drain.active) end(signal, 0)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  process.on('message', (message) => {
    if (message === 'shutdown' && !app.drain.active) end('shutdown message', 0)
  })
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (err: unknown) => {
      app.log.fatal({ err }, event)
      if (!app.drain.active) end(event, 1)
    })
  }
}
