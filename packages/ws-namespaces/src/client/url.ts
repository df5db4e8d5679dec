const page = (globalThis as { location?: { href: string } }).location

/** The address to connect to: one of a page may be relative, and may begin with http. */
export function socketUrl (url: string): URL {
  const full = new URL(url, page?.href)
  full.protocol = full.protocol.replace('http', 'ws')
  return full
}

/** Whether the server refuses who asks: a browser does not tell a page why an upgrade failed. Elsewhere nobody knows. */
export async function isRefused (url: URL): Promise<boolean> {
  if (page === undefined) return false
  const plain = new URL(url)
  plain.protocol = plain.protocol.replace('ws', 'http')
  // As a WebSocket does, which sends cookies to another origin too: without them who is logged in would be refused here.
  const status = await fetch(plain, { credentials: 'include' }).then((response) => response.status, () => 0)
  return status === 401 || status === 403
}
