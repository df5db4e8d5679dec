import { createHash } from 'node:crypto'

/** One of the people of the listing: made up, and the same on each machine. */
export interface Person {
  _id: number
  name: string
  email: string
  city: string
  joinedAt: Date
  /** `2024-03`, for the aggregate. */
  joinedMonth: string
  orders: number
  /** In whole euros. */
  spent: number
}

const FIRST = ['Ada', 'Alan', 'Barbara', 'Claude', 'Donald', 'Edsger', 'Frances', 'Grace', 'Hedy', 'Ivan', 'Jean', 'Katherine', 'Leslie', 'Margaret', 'Niklaus', 'Radia', 'Shafi', 'Tim', 'Vint', 'Whitfield']
const LAST = ['Allen', 'Berners', 'Cerf', 'Dijkstra', 'Goldwasser', 'Hamilton', 'Hopper', 'Johnson', 'Knuth', 'Lamarr', 'Lamport', 'Liskov', 'Lovelace', 'Perlman', 'Sammet', 'Shannon', 'Sutherland', 'Turing', 'Wirth', 'Zuse']
const CITIES = ['Amsterdam', 'Berlin', 'Cambridge', 'Dublin', 'Helsinki', 'Kyoto', 'Lisbon', 'Montréal', 'Nairobi', 'Oslo', 'São Paulo', 'Zürich']
const FIRST_DAY = Date.UTC(2022, 0, 1)
const DAYS = 1400

/** The n-th person, from 1. */
export function person (n: number): Person {
  const random = numbers(n)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const [first, last] = [pick(FIRST), pick(LAST)]
  const joinedAt = new Date(FIRST_DAY + Math.floor(random() * DAYS) * 86_400_000)
  const orders = Math.floor(random() ** 2 * 40)
  return {
    _id: n,
    name: `${first} ${last}`,
    email: `${first}.${last}.${n}@example.org`.toLowerCase(),
    city: pick(CITIES),
    joinedAt,
    joinedMonth: joinedAt.toISOString().slice(0, 7),
    orders,
    spent: Math.floor(orders * (5 + random() * 90))
  }
}

/** Numbers from 0 to 1 that depend on the seed alone; a SHA-256 has eight of them. */
function numbers (seed: number): () => number {
  const digest = createHash('sha256').update(`person ${seed}`).digest()
  let offset = -4
  return () => digest.readUInt32BE(offset += 4) / 2 ** 32
}
