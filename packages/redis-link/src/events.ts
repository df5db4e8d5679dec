/** `disabled`: not configured. `connecting`: first connection of the boot. `up`, `down`: whether Redis answers now. */
export type RedisState = 'disabled' | 'connecting' | 'up' | 'down'

/** What a change of the link was. */
export interface RedisChange {
  state: RedisState
  /** See `RedisLink.epoch`. */
  epoch: string | null
}

export interface RedisLinkEvents {
  /** Redis answers; once per transition. */
  up: [RedisChange]
  /** Redis does not answer; once per transition. */
  down: [RedisChange]
  /** The state or the epoch is another. */
  change: [RedisChange]
}
