import { channel } from 'node:diagnostics_channel'

/** Where a write stands. `blocked`: Redis holds the block; `safe`: nobody serves the old value; `written`: the database answered; `released`: done. */
export type Step = 'blocked' | 'safe' | 'written' | 'released'

const steps = channel('jpulse:config-cache:write')

/** Published synchronously, so a subscriber can act between two steps; nobody subscribed costs nothing. */
export function step (name: Step, opId: string, tags: readonly string[]): void {
  if (steps.hasSubscribers) steps.publish({ step: name, opId, tags })
}
