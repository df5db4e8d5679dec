/**
 * Compares strings by their UTF-8 bytes, as MongoDB does without a collation. JavaScript's `<` compares UTF-16 units,
 * which puts U+FF5E after the emoji U+1F600 (units D83D DE00); in UTF-8, EF BD 9E comes before F0 9F 98 80.
 */
export function compareStrings (a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    // Outside the surrogates, units and UTF-8 bytes agree; a lone surrogate is stored as U+FFFD.
    return isSurrogate(x) || isSurrogate(y) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x - y
  }
  return a.length - b.length
}

const isSurrogate = (unit: number) => unit >= 0xd800 && unit <= 0xdfff
