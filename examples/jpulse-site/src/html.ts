const REPLACEMENTS: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

/** Text that is HTML already. Only {@link html} and {@link raw} make it, so nothing else escapes being escaped. */
export class Html {
  readonly #text: string

  constructor (strings: readonly string[], values: readonly unknown[]) {
    this.#text = strings.reduce((text, string, index) => text + render(values[index - 1]) + string)
  }

  toString (): string {
    return this.#text
  }
}

/** Markup that somebody else answers for: what an administrator wrote. */
export function raw (markup: string): Html {
  return new Html([markup], [])
}

/**
 * Markup as a tagged template. Each value is escaped, unless it is markup itself; lists are joined; undefined, null and
 * false leave nothing. Values belong between tags or in quoted attributes, which is where escaping makes them safe.
 */
export function html (strings: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(strings, values)
}

function render (value: unknown): string {
  if (value === undefined || value === null || value === false) return ''
  if (value instanceof Html) return value.toString()
  if (Array.isArray(value)) return value.map(render).join('')
  return String(value).replace(/[&<>"']/g, (character) => REPLACEMENTS[character] ?? character)
}
