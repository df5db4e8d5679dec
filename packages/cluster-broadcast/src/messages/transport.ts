import type { Ack, EpochLog, EpochLogOptions, LogFrame } from '../log/epoch-log.ts'
import type { Member } from '../membership/members.ts'
import type { WireMessage, WireReply } from './frame.ts'

/** A message of this process on its way to the others. */
export interface Outgoing extends WireMessage {
  /** Whether it goes to the log, from which others read what they missed. */
  readonly logged: boolean
  /** This process' own number of it, counted apart for what is logged and what is not. */
  readonly counter: number
}

/** `local`: what is published reaches this process only, or it does not hear the others. */
export type ClusterMode = 'cluster' | 'local'

/** Messages between this and another position of the log were lost to this process. */
export interface Gap {
  /** How many, the own ones included; null where the log began anew or went back, so that nobody can tell. */
  readonly missed: number | null
}

/** What a transport tells. */
export interface TransportListener {
  onMessage (message: WireMessage): void
  onReply (reply: WireReply): void
  onJoin (member: Member): void
  onLeave (member: Member): void
  onMode (mode: ClusterMode): void
  onGap (gap: Gap): void
  /** The lease was renewed, or its time has come where there is no Redis. */
  onHeartbeat (): void
}

/** Ends the listening; never rejects. */
export type StopListening = () => Promise<void>

/** Carries messages between processes. Messages of the own process never come back: they are delivered before they are sent. */
export interface Transport {
  readonly mode: ClusterMode
  /** Joins, where that is possible at once. Never rejects. */
  open (listener: TransportListener): Promise<void>
  /** Leaves. Bounded; never rejects. */
  close (): Promise<void>
  /** For an `ask`, `living` are the boot ids of the members at the moment of publishing. Never rejects. */
  send (message: Outgoing): Promise<Ack>
  /** Hears what is not logged on a name or pattern; what is logged is always heard. Resolves when it is. */
  listen (pattern: string): Promise<StopListening>
  /** Answers an ask. Never rejects. */
  reply (toBootId: string, reply: WireReply): void
  /** Everybody who lives, this process included. */
  members (): Member[]
  /** A log of a plugin's own, on which this process publishes under its boot id; null where no Redis is configured. */
  openLog<Frame extends LogFrame, Message> (options: EpochLogOptions<Frame, Message>): EpochLog<Frame, Message> | null
  /** Messages that this process could not read: malformed, or of a later release. */
  readonly ignored: number
}
