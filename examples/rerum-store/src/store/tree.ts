import { isLiving, type LivingStored, type Rerum, type Stored } from './document.ts'
import { nextModified } from './make.ts'
import type { Change } from './tags.ts'

/**
 * The versions of one object, by the one truth about them: which version each was made from.
 *
 * `prime`, `previous`, `next` and `releases` follow from it. They are stored as well, because a filter can only match what is
 * stored; so whoever changes the truth gets from here what else has to change.
 */
export class Tree {
  readonly #before = new Map<string, LivingStored>()
  readonly #parents = new Map<string, string | null>()
  readonly #uri: (id: string) => string

  /** @param stored every living version of the tree */
  constructor (stored: readonly Stored[], uri: (id: string) => string) {
    this.#uri = uri
    for (const one of stored) {
      if (!isLiving(one)) continue
      this.#before.set(one._id, one)
      this.#parents.set(one._id, one.parent)
    }
  }

  /** Takes a version out: what was made from it now comes from what it was made from. */
  remove (id: string): void {
    const parent = this.#parents.get(id) ?? null
    this.#parents.delete(id)
    for (const [child, of] of this.#parents) if (of === id) this.#parents.set(child, parent)
  }

  /** Documents that differ from what now follows, `released` being a version with other content about itself. */
  changes (op: string, released?: LivingStored): Change[] {
    const children = this.#children()
    const changes: Change[] = []
    for (const [id, parent] of this.#parents) {
      const before = this.#before.get(id)!
      const base = released?._id === id ? released : before
      const root = this.#root(id)
      const __rerum: Rerum = {
        ...base.object.__rerum,
        history: {
          prime: parent === null ? 'root' : this.#uri(root),
          // The origin of an import stays.
          previous: parent === null ? (before.parent === null ? base.object.__rerum.history.previous : '') : this.#uri(parent),
          next: (children.get(id) ?? []).map(this.#uri)
        },
        releases: { ...base.object.__rerum.releases, ...this.#releases(id, children, released) }
      }
      const after = { ...base, op, rev: before.rev + 1, modified: nextModified(before), tree: root, parent, object: { ...base.object, __rerum } }
      if (differs(before, after)) changes.push({ before, after })
    }
    return changes
  }

  #root (id: string): string {
    let root = id
    for (let parent = this.#parents.get(id) ?? null; parent !== null; parent = this.#parents.get(parent) ?? null) root = parent
    return root
  }

  #children (): Map<string, string[]> {
    const children = new Map<string, string[]>()
    for (const [id, parent] of [...this.#parents].sort(([a], [b]) => a < b ? -1 : 1)) {
      if (parent !== null) children.set(parent, [...children.get(parent) ?? [], id])
    }
    return children
  }

  /** The nearest released versions above, and below on each branch. */
  #releases (id: string, children: Map<string, string[]>, released: LivingStored | undefined): { previous: string, next: string[] } {
    const isReleased = (one: string) => one === released?._id || this.#before.get(one)!.object.__rerum.isReleased !== ''
    let above = this.#parents.get(id) ?? null
    while (above !== null && !isReleased(above)) above = this.#parents.get(above) ?? null
    const below: string[] = []
    const open = [...children.get(id) ?? []].reverse()
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      if (isReleased(one)) below.push(one)
      else open.push(...[...children.get(one) ?? []].reverse())
    }
    return { previous: above === null ? '' : this.#uri(above), next: below.map(this.#uri) }
  }
}

const differs = (a: LivingStored, b: LivingStored): boolean => a.tree !== b.tree || a.parent !== b.parent || JSON.stringify(a.object.__rerum) !== JSON.stringify(b.object.__rerum)
