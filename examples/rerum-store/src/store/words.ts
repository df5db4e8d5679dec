const MAX_WORDS = 2000

/** Scripts that put no spaces between words. */
const SPACELESS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
/** Which words there are in a run of such letters is known by their dictionaries, whatever the language that is named. */
const segmenter = new Intl.Segmenter('ja', { granularity: 'word' })

/** The different words of a text, in lower case and without accents. */
export function wordsIn (text: string): string[] {
  const runs = text.normalize('NFKC').match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  const words = runs.flatMap((run) => SPACELESS.test(run) ? [...segmenter.segment(run)].map(({ segment }) => segment) : [run])
  return [...new Set(words.flatMap((word) => word.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().match(/[\p{L}\p{N}]{1,64}/gu) ?? []))]
}

/** The different words of all texts in an object, at most 2000. What begins with @ or __ is no text of its author's. */
export function wordsOf (object: object): string[] {
  const words = new Set<string>()
  collect(object, words)
  return [...words].slice(0, MAX_WORDS)
}

function collect (value: unknown, words: Set<string>): void {
  if (words.size >= MAX_WORDS) return
  if (typeof value === 'string') for (const word of wordsIn(value)) words.add(word)
  if (typeof value !== 'object' || value === null) return
  for (const [name, part] of Object.entries(value)) if (!/^(@|__)/.test(name)) collect(part, words)
}
