import type { RedisLink } from '@jpulse/redis-link'
import { isReserved } from './messages/names.ts'

/**
 * The only builder of our keys and channels. All keys that one script touches carry the same hash tag, so that they
 * lie on one node of a Redis Cluster; the tag holds the site, so that two sites may lie on two nodes.
 */
export class Keys {
  /** Hash: `epoch`, `seq` and what else the log keeps there; `mv`, `beatAt` of the membership. */
  readonly state: string
  /** Stream: frames by the number of their last message. */
  readonly log: string
  /** Hash: boot id → member as JSON. */
  readonly members: string
  /** Sorted set: boot id → end of its lease, in milliseconds of Redis' clock. */
  readonly leases: string
  /** Channel of every logged frame. */
  readonly bus: string
  /** Channel of joins and leaves. */
  readonly membership: string
  /** Channel of the names whose claim is done. */
  readonly done: string
  readonly #link: Pick<RedisLink, 'key' | 'channel'>
  readonly #tag: string

  constructor (link: Pick<RedisLink, 'key' | 'channel'>) {
    this.#link = link
    const tag = this.#tag = `{${link.key('').slice(0, -1)}}`
    this.state = link.key('cluster', tag, 'state')
    this.log = link.key('cluster', tag, 'stream')
    this.members = link.key('cluster', tag, 'members')
    this.leases = link.key('cluster', tag, 'leases')
    this.bus = link.channel('cluster', 'bus')
    this.membership = link.channel('cluster', 'membership')
    this.done = link.channel('cluster', 'done')
  }

  /** State and stream of the log that a channel prefix has of its own, and number of the last batch of a process in it. */
  ownLog (prefix: string, bootId: string): { readonly state: string, readonly log: string, readonly publisher: string } {
    const key = (...parts: string[]): string => this.#link.key('cluster', 'log', `{${this.#link.key(prefix)}}`, ...parts)
    return { state: key('state'), log: key('stream'), publisher: key('publisher', bootId) }
  }

  /** Channel of such a log. */
  ownBus (prefix: string): string {
    return this.#link.channel('cluster', 'log', prefix)
  }

  /** Number of the last batch that a process appended to the log. */
  publisher (bootId: string): string {
    return this.#link.key('cluster', this.#tag, 'publisher', bootId)
  }

  /** Claim of one `once`. */
  once (name: string): string {
    return this.#link.key('cluster', 'once', name)
  }

  /** Term of one leader. */
  leader (name: string): string {
    return this.#link.key('cluster', 'leader', name)
  }

  /** Where the answers to one process go. */
  replies (bootId: string): string {
    return this.#link.channel('cluster', 'reply', bootId)
  }

  /** The pattern of all such channels of one kind, which is the only one that an ACL can name: applications choose the others. */
  directAll (name: string): string {
    return this.#link.channel('cluster', isReserved(name) ? 'internal' : 'app', '*')
  }

  /** Channel of what is not logged, by its own name. A pattern's `*` is Redis' own; names hold no other glob character. */
  direct (name: string): string {
    return this.#link.channel('cluster', isReserved(name) ? 'internal' : 'app', name)
  }
}
