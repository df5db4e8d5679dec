import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto'
import { promisify } from 'node:util'
import { BusyError } from '../errors.ts'

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt)

const BLOCK = { r: 8, p: 3 }
const KEY_BYTES = 32
/** Each takes a thread of libuv's four, which files and DNS need too. */
const AT_ONCE = 2
const WAITING_MAX = 100

let running = 0
const waiting: Array<() => void> = []

/** What is stored of a password: `scrypt$N$r$p$salt$key`. @param cost log2 of N @throws BusyError */
export async function hashPassword (password: string, cost: number): Promise<string> {
  const parameters = { N: 2 ** cost, ...BLOCK }
  const salt = randomBytes(16)
  const key = await inTurn(() => derive(normal(password), salt, KEY_BYTES, options(parameters)))
  return ['scrypt', parameters.N, BLOCK.r, BLOCK.p, salt.toString('base64url'), key.toString('base64url')].join('$')
}

/** Takes as long where there is no such user (`hash` null), so that the time does not tell. @throws BusyError */
export async function checkPassword (password: string, hash: string | null, cost: number): Promise<boolean> {
  const [, N, r, p, salt = '', key = ''] = (hash ?? `scrypt$${2 ** cost}$${BLOCK.r}$${BLOCK.p}$AAAA$AAAA`).split('$')
  const expected = Buffer.from(key, 'base64url')
  const got = await inTurn(() => derive(normal(password), Buffer.from(salt, 'base64url'), KEY_BYTES, options({ N: Number(N), r: Number(r), p: Number(p) })))
  return expected.length === got.length && timingSafeEqual(got, expected)
}

/** The same letters may be typed as different code points. */
const normal = (password: string) => password.normalize('NFKC')

const options = ({ N, r, p }: { N: number, r: number, p: number }): ScryptOptions => ({ N, r, p, maxmem: 256 * N * r })

async function inTurn<T> (work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (waiting.length >= WAITING_MAX) throw new BusyError()
    await new Promise<void>((resolve) => waiting.push(resolve))
  }
  running++
  try {
    return await work()
  } finally {
    running--
    waiting.shift()?.()
  }
}
