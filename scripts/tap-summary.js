/**
 * Turns tap's raw output into a line per test file, followed by everything that file said only where it failed, and
 * counts tests: a test is a named subtest of a file (`t.test(…)`), or the file itself where it has none.
 */
export class TapSummary {
  /** @type {(line: string) => void} */
  #print
  #rest = ''
  /** @type {string[]} */
  #file = []
  #passed = 0
  #failed = 0

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

  end () {
    this.#line(this.#rest)
    return { passed: this.#passed, failed: this.#failed }
  }

  /** @param {string} line */
  #line (line) {
    const result = /^(not ok|ok) \d+ - (.*)$/.exec(line)
    if (result === null) {
      this.#file.push(line)
      return
    }
    const failed = result[1] === 'not ok'
    if (failed) for (const said of this.#file) this.#print(said)
    this.#print(line)
    const tests = this.#file.map((said) => /^ {4}(not ok|ok) \d+/.exec(said)?.[1]).filter((verdict) => verdict !== undefined)
    const failures = tests.filter((verdict) => verdict === 'not ok').length
    this.#passed += tests.length - failures + (tests.length === 0 && !failed ? 1 : 0)
    this.#failed += failures + (failed && failures === 0 ? 1 : 0)
    this.#file = []
  }
}
