import type { Envelope } from './frame.ts'
import type { Topic } from './keys.ts'

/** A message on its way to the clients of a namespace. Its envelope has no offset yet. */
export interface Delivery extends Envelope {
  readonly topic: Topic
  /** Client ids that do not get it, joined with `.`; mostly empty. */
  readonly except: string
  /** Whether it is dropped, rather than its receiver, where the receiver is slow. */
  readonly volatile: boolean
}

/** A place in a namespace's log. */
export interface Place {
  readonly epoch: string
  readonly seq: number
}

/** A message of the log. */
export interface Logged extends Delivery {
  readonly seq: number
}

/** Where a connection stands that begins. */
export interface Opening {
  /** Null where the namespace has no history, or nobody can tell now. */
  readonly place: Place | null
  /** Whether `missed` is all that was missed. */
  readonly recovered: boolean
  /** What was published after the offset that the client gave, whoever it was for. */
  readonly missed: readonly Logged[]
}

/** Whether a message reached the cluster, or this process only. */
export type Delivered = 'cluster' | 'local'

/** Where messages arrive. */
export interface Sink {
  deliver (message: Delivery, place: Place | null): void
  /** Everything up to this place was delivered. */
  mark (place: Place): void
}

export interface Listening {
  /** Resolves when the topic is heard, or cannot be now. */
  readonly ready: Promise<void>
  stop (): void
}

/** Carries the messages of one namespace between processes. */
export interface Carrier {
  /** Messages, or stretches of unknown length, that were lost to this process. */
  readonly gaps: number
  /** Whether nothing is on its way. */
  readonly idle: boolean
  /** Never rejects for an outage. @throws where the message is too long */
  publish (message: Delivery): Promise<Delivered>
  listen (topic: Topic): Listening
  /** @param offset what the client gave */
  open (offset: string | null): Promise<Opening>
  /** Called now and then while there are connections. */
  keep (): void
  close (): void
}

const OFFSET = /^([A-Za-z0-9_-]{1,40})\.(\d{1,15})$/

export function formatOffset ({ epoch, seq }: Place): string {
  return `${epoch}.${seq}`
}

/** Null where it is none of ours. */
export function parseOffset (text: string | null): Place | null {
  const [, epoch, seq] = OFFSET.exec(text ?? '') ?? []
  return epoch === undefined ? null : { epoch, seq: Number(seq) }
}
