/**
 * Imported first, so that SIGUSR2 ends no worker that boots, or has no `LOG_FILE`: a rotation tells all of them. The log file adds what
 * is to be done.
 */
process.on('SIGUSR2', () => {})
