// The directory of holders (docs/local-reads.md) as a model: every state of two instances that read one session, keep copies of
// it and write it, of one Redis, and of what may happen to both. What a coherent write of the cache does is taken as its own
// model proves it (packages/config-cache/spec): from the block to the release nobody has a copy or keeps what he reads, and where
// the block was lost meanwhile there is another before the write is answered.
//
// node spec/holders.js          the rules as they are, and with each left out, where a violation must be found
// node spec/holders.js --long   more reads and writes as well, for minutes; give node more memory (--max-old-space-size=8000)

const INSTANCES = 2

/** A record in Redis: of which run of the server, who has a copy at most, and by whom it was last changed. */
const NOBODY = -1
const SHARED = 9

/**
 * @typedef {{ run: number, who: number, token: number }} Entry
 * @typedef {{ at: string, value: number, token: number, isHeld: boolean, taken: number }} Write
 * @typedef {{ copy: number, load: null | { value: number, isClean: boolean, need: number }, taken: number, isHere: boolean, write: Write | null }} Instance
 * @typedef {{ run: number, entry: Entry | null, old: Array<Entry | null>, value: number, answered: number, seen: number, tokens: number, writes: number,
 *   loads: number, restarts: number, evictions: number, losses: number, deaths: number, delays: number, isWeak: boolean, late: Array<{ who: number, taken: number }>, blocks: number[], cleanings: number[], instances: Instance[] }} State
 */

/** @typedef {Partial<Record<'writes' | 'loads' | 'restarts' | 'evictions' | 'losses' | 'deaths' | 'delays', number>>} Limits */

/** @param {Limits} limits @returns {State} */
const first = (limits) => ({
  run: 1,
  entry: { run: 1, who: NOBODY, token: 0 },
  old: [],
  value: 1,
  answered: 1,
  seen: 1,
  tokens: 0,
  writes: 0,
  loads: 0,
  restarts: 0,
  evictions: 0,
  losses: 0,
  deaths: 0,
  delays: 0,
  isWeak: (limits.losses ?? 0) > 0,
  late: [],
  blocks: [],
  cleanings: [],
  ...limits,
  instances: Array.from({ length: INSTANCES }, () => ({ copy: 0, load: null, taken: 0, isHere: false, write: null }))
})

/** @param {State} state */
const voidAll = ({ instances }) => {
  for (const instance of instances) {
    instance.copy = 0
    if (instance.load !== null) instance.load.isClean = false
  }
}

/** @param {Instance} instance */
const voidHere = (instance) => {
  instance.copy = 0
  if (instance.load !== null) instance.load.isClean = false
}

/** @param {State} state @param {number} who @param {string} without */
function register (state, who, without) {
  const { entry, run, instances } = state
  const { taken } = /** @type {Instance} */ (instances[who])
  const isKnown = entry !== null && (entry.run === run || without === 'run')
  if (!isKnown) state.entry = { run, who: without === 'unknown' ? who : SHARED, token: taken }
  else if (entry.who === NOBODY || entry.who === who) state.entry = { run, who, token: taken }
  else state.entry = { run, who: SHARED, token: without === 'renewal' ? entry.token : taken }
}

/** @param {State} state @param {{ who: number, taken: number }} change @param {string} without */
function mayBeAlone ({ entry, run }, { who, taken }, without) {
  if (without === 'check') return true
  if (entry === null) return without === 'missing'
  return (entry.run === run || without === 'run') && (entry.who === NOBODY || (entry.who === who && (entry.token === taken || without === 'taken')))
}

/** @param {State} state */
const isBlocked = (state) => state.blocks.length > 0

/** What can happen next, each as a change of a copy of the state; a name of a violation where it is one. @param {State} state @param {string} without */
function * steps (state, without) {
  /** @param {(next: State, at: (who: number) => Instance) => string | void} change */
  const step = (change) => {
    const next = structuredClone(state)
    const violation = change(next, (who) => /** @type {Instance} */ (next.instances[who]))
    return { next, violation }
  }
  /** @param {State} next @param {number} value @param {number} need */
  const returned = (next, value, need) => {
    if (value < need) return `${value} was returned, ${need} had been answered before`
    next.seen = Math.max(next.seen, value)
  }
  const needOf = (/** @type {State} */ { answered, seen, isWeak }) => isWeak ? answered : Math.max(answered, seen)
  for (let who = 0; who < INSTANCES; who++) {
    const { copy, load, write, isHere } = /** @type {Instance} */ (state.instances[who])
    // Reads.
    if (copy > 0) yield step((next) => returned(next, copy, needOf(next)))
    if (copy === 0 && load === null && state.loads > 0) {
      yield step((next, at) => {
        next.loads--
        at(who).taken = ++next.tokens
        at(who).load = { value: 0, isClean: !isBlocked(next) && !isHere, need: needOf(next) }
      })
    }
    if (load !== null && load.value === 0) {
      yield step((next, at) => {
        const mine = /** @type {NonNullable<Instance['load']>} */ (at(who).load)
        mine.value = next.value
        if (without !== 'atomic') register(next, who, without)
      })
    }
    if (load !== null && load.value > 0) {
      yield step((next, at) => {
        at(who).load = null
        if (without === 'atomic') register(next, who, without)
        if (load.isClean && !isBlocked(next) && !isHere) at(who).copy = load.value
        return returned(next, load.value, load.need)
      })
    }
    // Writes.
    const id = who + 1
    if (write === null && state.writes > 0) {
      yield step((next, at) => {
        next.writes--
        at(who).write = { at: 'alone', value: 0, token: 0, isHeld: true, taken: at(who).taken }
        if (without === 'here') return
        at(who).isHere = true
        voidHere(at(who))
      })
    }
    if (write?.at === 'alone') {
      yield step((next, at) => {
        const mine = /** @type {Write} */ (at(who).write)
        if (!mayBeAlone(next, { who, taken: mine.taken }, without)) {
          at(who).isHere = false
          voidHere(at(who))
          mine.at = 'block'
          return
        }
        mine.value = ++next.value
        mine.at = 'written'
      })
    }
    // Given up by who sent it, and still on its way.
    if (write?.at === 'alone' && state.delays > 0) {
      yield step((next, at) => {
        next.delays--
        next.late.push({ who, taken: write.taken })
        at(who).isHere = false
        voidHere(at(who))
        at(who).write = null
      })
    }
    if (write?.at === 'written') {
      yield step((next, at) => {
        at(who).isHere = false
        if (without !== 'here') voidHere(at(who))
        next.answered = Math.max(next.answered, write.value)
        at(who).write = null
      })
    }
    if (write?.at === 'block' || write?.at === 'again') {
      yield step((next, at) => {
        voidAll(next)
        next.blocks.push(id)
        const mine = /** @type {Write} */ (at(who).write)
        mine.at = write.at === 'block' ? 'work' : 'release'
        mine.isHeld = true
      })
    }
    if (write?.at === 'work') {
      yield step((next, at) => {
        const mine = /** @type {Write} */ (at(who).write)
        mine.value = ++next.value
        mine.token = ++next.tokens
        next.entry = without === 'early' ? { run: next.run, who: NOBODY, token: mine.token } : { run: next.run, who: SHARED, token: mine.token }
        mine.at = 'release'
      })
    }
    if (write?.at === 'release') {
      yield step((next, at) => {
        const mine = /** @type {Write} */ (at(who).write)
        if (!mine.isHeld) {
          mine.at = 'again'
          return
        }
        next.blocks = next.blocks.filter((one) => one !== id)
        voidAll(next)
        next.answered = Math.max(next.answered, write.value)
        next.cleanings.push(write.token)
        at(who).write = null
      })
    }
    if (write !== null && write.isHeld && state.losses > 0 && state.blocks.includes(id)) {
      yield step((next, at) => {
        next.losses--
        next.blocks = next.blocks.filter((one) => one !== id)
        voidAll(next)
        const mine = /** @type {Write} */ (at(who).write)
        mine.isHeld = false
      })
    }
    // A process that dies: its copy with it; its block is removed.
    if (state.deaths > 0) {
      yield step((next, at) => {
        next.deaths--
        if (next.blocks.includes(id)) voidAll(next)
        next.blocks = next.blocks.filter((one) => one !== id)
        // Another process takes its place, with an id of its own: nobody's in the records.
        Object.assign(at(who), { copy: 0, load: null, taken: 0, isHere: false, write: null })
        next.late = next.late.filter((one) => one.who !== who)
        if (next.entry?.who === who) next.entry.who = SHARED
      })
    }
  }
  for (const [index, change] of state.late.entries()) {
    yield step((next) => {
      next.late = next.late.filter((_, other) => other !== index)
      if (mayBeAlone(next, change, without)) next.value++
    })
  }
  for (const token of state.cleanings) {
    yield step((next) => {
      next.cleanings = next.cleanings.filter((one) => one !== token)
      const { entry, run } = next
      if (without === 'token' || (entry?.token === token && entry.run === run)) next.entry = { run, who: NOBODY, token: 0 }
    })
  }
  if (state.evictions > 0 && state.entry !== null) {
    yield step((next) => {
      next.evictions--
      next.entry = null
    })
  }
  // Redis goes on as another, which may have lost what was last told to it of who has copies.
  if (state.restarts > 0) {
    for (const entry of [state.entry, null, ...state.old]) {
      yield step((next) => {
        next.restarts--
        next.run++
        next.entry = entry
      })
    }
  }
}

/** Marks are only compared: states that differ by their names alone are one. @param {State} state */
function rename (state) {
  const names = new Map([[0, 0]])
  const name = (/** @type {number} */ mark) => {
    const known = names.get(mark) ?? names.size
    names.set(mark, known)
    return known
  }
  const renamed = (/** @type {Entry | null} */ entry) => entry === null ? null : { ...entry, token: name(entry.token) }
  state.entry = renamed(state.entry)
  state.old = [...new Map(state.old.map(renamed).map((entry) => [JSON.stringify(entry), entry])).values()]
  for (const instance of state.instances) {
    instance.taken = name(instance.taken)
    if (instance.write !== null) Object.assign(instance.write, { token: name(instance.write.token), taken: name(instance.write.taken) })
  }
  for (const change of state.late) change.taken = name(change.taken)
  state.cleanings = state.cleanings.map(name)
  state.tokens = names.size - 1
}

/** @param {Limits} limits @param {string} [without] @returns {{ states: number, violation: string | undefined }} */
function explore (limits, without = '') {
  const begin = first(limits)
  const known = new Set([JSON.stringify(begin)])
  let states = [begin]
  while (states.length > 0) {
    /** @type {State[]} */
    const found = []
    for (const state of states) {
      for (const { next, violation } of steps(state, without)) {
        if (violation !== undefined) return { states: known.size, violation }
        if (next.restarts > 0 && JSON.stringify(next.entry) !== JSON.stringify(state.entry)) next.old.push(state.entry)
        rename(next)
        const text = JSON.stringify(next)
        if (known.has(text)) continue
        known.add(text)
        found.push(next)
      }
    }
    states = found
  }
  return { states: known.size, violation: undefined }
}

const SOUND = [{ loads: 3 }, { evictions: 1 }, { restarts: 1 }, { losses: 1 }, { deaths: 1 }, { delays: 1 }].map((limits) => ({ writes: 2, loads: 2, ...limits }))
if (process.argv.includes('--long')) SOUND.push({ writes: 3, loads: 3 }, ...['evictions', 'restarts', 'losses', 'deaths', 'delays'].map((fault) => ({ writes: 2, loads: 3, [fault]: 1 })))

/** Each rule left out, where it matters. */
const BROKEN = Object.entries({
  check: {}, atomic: {}, here: {}, renewal: { writes: 3 }, token: { writes: 3 }, early: { writes: 3, losses: 1, loads: 3 }, unknown: { evictions: 1 }, missing: { evictions: 1 }, run: { restarts: 1 }, taken: { delays: 1 }
})

let failures = 0
for (const limits of SOUND) {
  const begun = performance.now()
  const { states, violation } = explore(limits)
  if (violation !== undefined) failures++
  process.stdout.write(`${violation === undefined ? 'ok    ' : 'not ok'} ${JSON.stringify(limits)}: ${states} states, ${violation ?? 'all'} (${Math.round(performance.now() - begun)} ms)\n`)
}
for (const [without, limits] of BROKEN) {
  const { states, violation } = explore({ writes: 2, loads: 3, ...limits }, without)
  if (violation === undefined) failures++
  process.stdout.write(`${violation === undefined ? 'not ok' : 'ok    '} without ${without}: ${violation ?? 'NOT FOUND'} after ${states} states\n`)
}
process.exitCode = failures === 0 ? 0 : 1
