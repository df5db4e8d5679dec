const MAX_WORDS = 2000
const MAX_TOKENS = 5000
const MAX_CHARACTERS = 200_000
/** Characters of base64 in a row that are no word any more, but data: an image. */
const DATA = 1000
/** The characters of both alphabets of base64, by their codes. */
const BASE64 = new Set([...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_='].map((character) => character.charCodeAt(0)))
/** How an address begins that ends in data, with the attribute that it is of; and its longest beginning. */
const BEFORE_DATA = /(?:[\w:-]+=)?["'(]*data:[^\s,]*,$/i
const LONGEST_BEFORE = 200

/** Scripts that put no spaces between words. */
const SPACELESS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
/** Which words there are in a run of such letters is known by their dictionaries, whatever the language that is named. */
const segmenter = new Intl.Segmenter('ja', { granularity: 'word' })
// Each is loaded by the first text that needs it, which takes some ten milliseconds: not by a request.
for (const text of ['漢字', 'ไทย', 'ລາວ', 'ខ្មែរ', 'မြန်မာ']) Array.from(segmenter.segment(text))

/** What a search knows of an object. */
interface SearchText {
  /** The different words. */
  words: string[]
  /** The words in their order, a line for each text of the object: phrases are looked for here. */
  lines: string
}

/** The words of a text in their order, in lower case and without accents. */
export function tokensIn (text: string): string[] {
  const runs = text.normalize('NFKC').match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  const words = runs.flatMap((run) => SPACELESS.test(run) ? [...segmenter.segment(run)].map(({ segment }) => segment) : [run])
  return words.flatMap((word) => word.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().match(/[\p{L}\p{N}]{1,64}/gu) ?? [])
}

/** The words of all texts in an object: the first 2000 different ones, of 200,000 characters without data. What begins with @ or __ is no text of its author's. */
export function searchTextOf (object: object): SearchText {
  const words = new Set<string>()
  const lines: string[] = []
  let left = { characters: MAX_CHARACTERS, tokens: MAX_TOKENS }
  for (const whole of textsIn(object)) {
    if (left.characters <= 0 || words.size >= MAX_WORDS) break
    const text = withoutData(whole, left.characters)
    const tokens = tokensIn(text)
    for (const word of tokens) words.add(word)
    if (tokens.length > 0 && left.tokens > 0) lines.push(tokens.slice(0, left.tokens).join(' '))
    left = { characters: left.characters - text.length, tokens: left.tokens - tokens.length }
  }
  return { words: [...words].slice(0, MAX_WORDS), lines: lines.join('\n') }
}

/** So many characters of a text, without what stands in it as data. */
function withoutData (text: string, most: number): string {
  const kept: string[] = []
  let [characters, from, run] = [0, 0, 0]
  const keep = (to: number): void => {
    const part = text.slice(from, Math.min(to, from + most - characters))
    kept.push(part)
    characters += part.length
  }
  for (let at = 0; at <= text.length && characters + run - from < most; at++) {
    if (BASE64.has(text.charCodeAt(at))) continue
    if (at - run >= DATA) {
      const before = text.slice(Math.max(from, run - LONGEST_BEFORE), run)
      keep(run - (BEFORE_DATA.exec(before)?.[0].length ?? 0))
      from = at
    }
    run = at + 1
  }
  keep(text.length)
  return kept.join(' ')
}

function * textsIn (value: unknown): Generator<string> {
  if (typeof value === 'string') yield value
  if (typeof value !== 'object' || value === null) return
  for (const [name, part] of Object.entries(value)) if (!/^(@|__)/.test(name)) yield * textsIn(part)
}

/**
 * Whether the words of a phrase stand together in one line: moved by at most `slop` places in all, as Lucene's sloppy phrases
 * have it. Two that change places move by two. A phrase that has a word twice is found in its order only.
 */
export function hasPhrase (lines: string, phrase: readonly string[], slop: number): boolean {
  const matches = new Set(phrase).size === phrase.length ? standTogether : followEachOther
  return lines.split('\n').some((line) => matches(line.split(' '), phrase, slop))
}

/** A word that stands where the phrase has it is at its place less its index: all of them within `slop` of each other. */
function standTogether (tokens: readonly string[], phrase: readonly string[], slop: number): boolean {
  const indexes = new Map(phrase.map((word, n) => [word, n]))
  const shifts: Array<[shift: number, n: number]> = []
  for (let at = 0; at < tokens.length; at++) {
    const n = indexes.get(tokens[at]!)
    if (n !== undefined) shifts.push([at - n, n])
  }
  shifts.sort(([a], [b]) => a - b)
  const last = new Array<number>(phrase.length).fill(-Infinity)
  return shifts.some(([shift, n]) => {
    last[n] = shift
    return last.every((one) => shift - one <= slop)
  })
}

/** For each word of the phrase the latest place at which a beginning of the phrase begins that ends with it; an earlier one is never better. */
function followEachOther (tokens: readonly string[], phrase: readonly string[], slop: number): boolean {
  const indexes = new Map<string, number[]>()
  // From the last to the first, so that one token does not stand for two words.
  for (let n = phrase.length - 1; n >= 0; n--) indexes.set(phrase[n]!, [...indexes.get(phrase[n]!) ?? [], n])
  const begins = new Array<number>(phrase.length).fill(-Infinity)
  return tokens.some((token, at) => indexes.get(token)?.some((n) => {
    begins[n] = n === 0 ? at : begins[n - 1]!
    return n === phrase.length - 1 && at - begins[n] - n <= slop
  }) === true)
}
