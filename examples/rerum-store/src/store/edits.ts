import { isDeepStrictEqual } from 'node:util'
import type { Body } from './body.ts'

/** What PATCH requests do to content; undefined where it stays as it was. */
export const EDITS: Readonly<Record<'patch' | 'set' | 'unset', (content: Body, changes: Body) => Body | undefined>> = {
  /** Changes properties that are there; null removes one, as a merge patch does (RFC 7396). */
  patch: (content, changes) => {
    const known = Object.entries(changes).filter(([name]) => Object.hasOwn(content, name))
    const removed = new Set(known.filter(([, value]) => value === null).map(([name]) => name))
    return ifChanged(content, without({ ...content, ...Object.fromEntries(known) }, removed))
  },

  /** Adds properties that are not there. */
  set: (content, changes) => ifChanged(content, { ...changes, ...content }),

  /** Removes properties. */
  unset: (content, changes) => ifChanged(content, without(content, new Set(Object.keys(changes))))
}

const without = (content: Body, names: ReadonlySet<string>): Body => Object.fromEntries(Object.entries(content).filter(([name]) => !names.has(name)))
const ifChanged = (before: Body, after: Body): Body | undefined => isDeepStrictEqual(before, after) ? undefined : after
