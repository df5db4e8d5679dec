/** A line of a frame: text, or text that bytes follow on, as `bytesLine` makes it. */
export type Line = string | Buffer

/** Never stands in UTF-8, so it says where the text of a line ends, and whether a frame holds bytes at all. */
const BYTES = 0xff
const ESCAPE = 0xfe
const LINE_FEED = 0x0a

/**
 * A line of text with bytes behind it: the text, 0xFF, then the bytes, in which a line feed is 0xFE 0x00 and 0xFE is 0xFE 0x01.
 * So bytes cost what they are, the lines stay lines, and who reads the frame as text finds the text in its place.
 */
export function bytesLine (text: string, bytes: Uint8Array): Buffer {
  const begin = Buffer.byteLength(text) + 1
  let escapes = 0
  for (const byte of bytes) if (byte === LINE_FEED || byte === ESCAPE) escapes++
  const line = Buffer.allocUnsafe(begin + bytes.length + escapes)
  line.write(text)
  line[begin - 1] = BYTES
  if (escapes === 0) line.set(bytes, begin)
  else {
    let at = begin
    for (const byte of bytes) {
      if (byte === LINE_FEED || byte === ESCAPE) {
        line[at++] = ESCAPE
        line[at++] = byte === LINE_FEED ? 0 : 1
      } else line[at++] = byte
    }
  }
  return line
}

/** What a line says, and its bytes where it has any. */
export function readLine (line: Line): { text: string, bytes: Uint8Array | null } {
  if (typeof line === 'string') return { text: line, bytes: null }
  const end = line.indexOf(BYTES)
  return { text: line.toString('utf8', 0, end === -1 ? line.length : end), bytes: end === -1 ? null : unescape(line.subarray(end + 1)) }
}

/** A copy, so that a small message does not keep the frame that it came in. */
function unescape (line: Buffer): Uint8Array {
  const bytes = new Uint8Array(line.length)
  let length = 0
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]!
    bytes[length++] = byte !== ESCAPE ? byte : line[++at] === 0 ? LINE_FEED : ESCAPE
  }
  return bytes.slice(0, length)
}

/** Lines behind a head. A text, unless one of them has bytes. */
export function joinLines (head: string, lines: readonly Line[]): Line {
  if (lines.every((line) => typeof line === 'string')) return `${head}${lines.join('\n')}`
  return Buffer.concat(lines.flatMap((line, index) => [Buffer.from(index === 0 ? head : '\n'), typeof line === 'string' ? Buffer.from(line) : line]))
}

/** How many lines `splitLines` makes of it. */
export function countLines (frame: Buffer): number {
  let count = 1
  for (let at = frame.indexOf(LINE_FEED); at !== -1; at = frame.indexOf(LINE_FEED, at + 1)) count++
  return count
}

/** The lines of a frame. Those with bytes stay as they are. @throws where it is longer than a text of the engine can be */
export function splitLines (frame: Buffer): Line[] {
  if (!frame.includes(BYTES)) return frame.toString().split('\n')
  const lines: Line[] = []
  for (let from = 0; from <= frame.length;) {
    const end = frame.indexOf(LINE_FEED, from)
    const line = frame.subarray(from, end === -1 ? frame.length : end)
    lines.push(line.includes(BYTES) ? line : line.toString())
    from += line.length + 1
  }
  return lines
}
