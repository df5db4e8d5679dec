/** tap's own comments are about subtests and times. */
const COMMENT = /^ +# (?!Subtest: |time=|\{ total)/

/** What a wait of ours, tap itself and Playwright say when time is over. */
const RAN_OUT = /^ *not ok \d+ - (waited \d+ ms in vain for |timeout!|.*Timeout \d+ms exceeded)/
/** The verdict of an assertion; that of a subtest ends with the time it took. */
const ASSERTION = /^ *not ok \d+ (?!.*# time=)/

/** @typedef {{ passed: number, failed: number, again: string[], slowest: Array<{ file: string, seconds: number }> }} Counted */

/**
 * Turns TAP into a line per test file, with its comments (what a test measured) before it, or everything
 * that file said where it failed, and counts tests: a test is a named subtest (`t.test(…)`) without subtests of its own, or a file that has none.
 *
 * A file that failed only because time was over, not by a wrong answer, is not counted but listed in `again`.
 */
export class TapSummary {
  /** @type {(line: string) => void} */
  #print
  #rest = ''
  /** @type {string[]} */
  #file = []
  #passed = 0
  #failed = 0
  /** @type {string[]} */
  #again = []
  /** @type {Array<{ file: string, seconds: number }>} */
  #times = []

  /** @param {(line: string) => void} print */
  constructor (print) {
    this.#print = print
  }

  /** @param {string} chunk */
  write (chunk) {
    const lines = (this.#rest + chunk).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
  }

  /** @returns {Counted} */
  end () {
    this.#line(this.#rest)
    const slowest = this.#times.sort((a, b) => b.seconds - a.seconds).slice(0, 10)
    return { passed: this.#passed, failed: this.#failed, again: this.#again, slowest }
  }

  /** @param {string} line */
  #line (line) {
    const result = /^(not ok|ok) \d+ - (.*)$/.exec(line)
    if (result === null) {
      this.#file.push(line)
      return
    }
    const failed = result[1] === 'not ok'
    const [, file = '', ms] = /^(\S+) # time=([\d.]+)ms/.exec(String(result[2])) ?? []
    if (ms !== undefined) this.#times.push({ file, seconds: Math.round(Number(ms) / 1000) })
    for (const said of this.#file) if (failed || COMMENT.test(said)) this.#print(said)
    this.#print(line)
    if (failed && onlyRanOut(this.#file)) {
      this.#again.push(String(result[2]).replace(/ # time=.*/, ''))
      this.#file = []
      return
    }
    const tests = leaves(this.#file)
    const failures = tests.filter((passed) => !passed).length
    this.#passed += tests.length - failures + (tests.length === 0 && !failed ? 1 : 0)
    this.#failed += failures + (failed && failures === 0 ? 1 : 0)
    this.#file = []
  }
}

/** @param {string[]} lines */
function onlyRanOut (lines) {
  const failures = lines.filter((line) => ASSERTION.test(line))
  return failures.length > 0 && failures.every((line) => RAN_OUT.test(line))
}

/**
 * The verdicts of the innermost subtests. tap prints `# Subtest: name` before a subtest, and its verdict, with the time
 * it took, after everything inside it, indented by four spaces a level.
 *
 * @param {string[]} lines
 */
function leaves (lines) {
  /** @type {boolean[]} */
  const verdicts = []
  /** @type {Map<number, boolean>} by indentation: whether the subtest begun there has subtests */
  const nested = new Map()
  for (const line of lines) {
    const indent = line.search(/\S/)
    if (/^ *# Subtest: /.test(line)) {
      nested.set(indent, false)
      nested.set(indent - 4, true)
      continue
    }
    const verdict = /^ *(not ok|ok) \d+ .*# time=/.exec(line)
    if (verdict !== null && nested.get(indent) === false) verdicts.push(verdict[1] === 'ok')
  }
  return verdicts
}
