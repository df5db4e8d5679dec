import type { RedisLink } from '@jpulse/redis-link'
import { encodePart } from '../ids.ts'

/** Who of a namespace a message is for: `broadcast`, `user:<id>` or `room:<id>`, the id as it is. */
export type Topic = 'broadcast' | `user:${string}` | `room:${string}`

/** The segments of a topic's channel, after those of the namespace. */
function topicParts (topic: Topic): string[] {
  const colon = topic.indexOf(':')
  return colon === -1 ? [topic] : [topic.slice(0, colon), encodePart(topic.slice(colon + 1))]
}

/** Channel of a topic on the cluster's broadcast: `ws:<namespace>:user:<id>`. */
export function channelOf (namespace: string, topic: Topic): string {
  return ['ws', encodePart(namespace), ...topicParts(topic)].join(':')
}

/**
 * The only builder of our Redis keys and channels. All keys of a namespace carry its name as hash tag, those of a history which one
 * it is, too, so that a script finds them on one node of a Redis Cluster, while namespaces are spread over the nodes.
 */
export class Keys {
  /** Hash of the log: `epoch`, `seq`, the number where the epoch began, and where and when the last mark was. */
  readonly state: string
  /** Stream: runs of messages by the number of their last one. */
  readonly log: string
  /** Hash: user → tokens of the instances where the user is. */
  readonly online: string
  /** Sorted set: token of an instance → end of its lease. */
  readonly leases: string
  /** Hash: `gen`, `beatAt` of the presence, and how far its users were looked through for those of the dead. */
  readonly beats: string
  /** Hash: user → its connections in all processes, where they are limited. */
  readonly slots: string
  /** Sorted set and hash for those, as `leases` and `beats`. */
  readonly slotLeases: string
  readonly slotBeats: string
  /** Channel of joins and leaves. */
  readonly presence: string
  readonly #link: Pick<RedisLink, 'key' | 'channel'>
  /** Of the history: the namespace, and which one of its histories. No name of a namespace is encoded with a `~`. */
  readonly #history: string

  /** @param historyId '' where it is not said */
  constructor (link: Pick<RedisLink, 'key' | 'channel'>, namespace: string, historyId = '') {
    this.#link = link
    const part = encodePart(namespace)
    this.#history = historyId === '' ? part : `${part}~${historyId}`
    const key = (name: string, of = part): string => link.key('ws', name, `{${of}}`)
    this.state = key('state', this.#history)
    this.log = key('log', this.#history)
    this.online = key('online')
    this.leases = key('leases')
    this.beats = key('beats')
    this.slots = key('slots')
    this.slotLeases = key('slot-leases')
    this.slotBeats = key('slot-beats')
    this.presence = link.channel('ws', part, 'presence')
  }

  /** Number of the last message that a process committed. */
  publisher (bootId: string): string {
    return this.#link.key('ws', 'publisher', `{${this.#history}}`, bootId)
  }

  /** What is known of a client that may come back: JSON. */
  client (clientId: string): string {
    return this.#link.key('ws', 'client', `{${this.#history}}`, clientId)
  }

  /** Hash: room → where the log was when the user was put out of it. */
  left (userId: string): string {
    return this.#link.key('ws', 'left', `{${this.#history}}`, encodePart(userId))
  }

  /** Channel of a topic of a namespace with history. */
  channel (topic: Topic): string {
    return this.#link.channel('ws', this.#history, ...topicParts(topic))
  }
}
