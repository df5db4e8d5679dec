/** What a path of the HTTP routes means. */
export interface Target {
  readonly namespace: string
  readonly userId: string | null
  readonly what: 'broadcast' | 'user' | 'online'
}

/**
 * Reads an encoded path as the routes would: a name of more than maxParamLength characters, which is 100 and the
 * application's to set, fits no parameter. Null where it is none of theirs.
 */
export function readTarget (path: string): Target | null {
  const segments = decodeAll(path.split('/'))
  const [namespace = '', kind, userId = '', end] = segments
  if (segments.includes('')) return null
  if (segments.length === 2 && kind === 'broadcast') return { namespace, userId: null, what: 'broadcast' }
  if (kind !== 'user') return null
  if (segments.length === 3) return { namespace, userId, what: 'user' }
  return segments.length === 4 && end === 'online' ? { namespace, userId, what: 'online' } : null
}

function decodeAll (segments: readonly string[]): string[] {
  try {
    return segments.map(decodeURIComponent)
  } catch {
    return []
  }
}
