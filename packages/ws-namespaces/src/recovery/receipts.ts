/** Whether a message that its client may send again was handled. */
export type Receipt =
  | { readonly state: 'new' }
  /** Claimed by that process. `beat` changes now and then for as long as it handles the message; null where the process is this one. */
  | { readonly state: 'running', readonly bootId: string, readonly beat: string | null }
  /** `answer` is what was recorded. */
  | { readonly state: 'done', readonly answer: string }
  /** Older than the messages that are kept: not known. */
  | { readonly state: 'forgotten' }

/** Which client of which namespace. */
export interface Sender { readonly namespace: string, readonly userId: string | null, readonly clientId: string }

/** Remembers which messages were handled, of clients that send again what was not answered. */
export interface Receipts {
  /** Marks a message as being handled, unless it was before. Rejects while Redis is away. */
  claim (sender: Sender, id: number): Promise<Receipt>
  /** Records the answer to a message that this process claimed. Never rejects. */
  done (sender: Sender, id: number, answer: string): Promise<void>
  /** Nothing was done under a claim of this process: as if it had never been. Never rejects. */
  free (sender: Sender, id: number): Promise<void>
  /** Nobody tries a claim again that was rejected: what Redis may have of it ends. Never rejects. */
  giveUp (sender: Sender, id: number): Promise<void>
  /** Resolves when the answers to all that this process claimed are recorded, or after so long. */
  settled (withinMs: number): Promise<void>
  close (): void
}

/** Time to live of a client's receipts after its last message. */
export const ONCE_MS = 600_000
/** Messages of a client that are kept. */
export const KEPT = 256
/** Recorded in place of an answer that is not kept. */
export const NOT_KEPT = 'ALREADY_HANDLED'
