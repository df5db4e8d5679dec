/**
 * Whether an error tells what became of the work: a 4xx is the application's own refusal. After any other, say a timeout of
 * the driver, the operation may still be on its way to the database.
 */
export function isDecided (error: unknown): boolean {
  const statusCode = (error as { statusCode?: unknown } | null | undefined)?.statusCode
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
}
