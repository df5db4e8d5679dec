/**
 * The epoch of a log is `<root>` or `<root>-<turn>`. Another root: the log began anew (Redis came back empty, or evicted it).
 * Another turn: the log went back (a failover lost its end), as a process noticed that had seen more; numbers go on.
 */
const EPOCH = /^([^-]+)(?:-(\d+))?$/

function parts (epoch: string): [root: string, turn: number] {
  const [, root = epoch, turn = '0'] = EPOCH.exec(epoch) ?? []
  return [root, Number(turn)]
}

export function isSameRoot (one: string, other: string): boolean {
  return parts(one)[0] === parts(other)[0]
}

/** Whether a log of one epoch became that of the other. */
export function isBefore (one: string, other: string): boolean {
  const [[root, turn], [otherRoot, otherTurn]] = [parts(one), parts(other)]
  return root === otherRoot && turn < otherTurn
}
