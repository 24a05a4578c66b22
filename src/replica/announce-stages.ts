import { countUntil, type Beginning } from '../evaluation/boundaries.js'
import type { Snapshot } from '../evaluation/snapshot.js'

/** What is looked at: a replica. */
export interface Watched { readonly snapshot: Snapshot, readonly status: string, now (): number }

/** A timer is set anew so often at the latest, milliseconds: the store's clock may run otherwise than this machine's. */
const longest = 60_000

/** So many milliseconds after a guard has seen enough, that is read at the latest. */
const latest = 60_000

/**
 * Tells of stages that begin by the clock, each once, when they have. It decides nothing: who is asked looks at the time himself.
 * What began before it was known is not told: the change that brought it is. A stage that its guard brought is known only then.
 */
export class StageAnnouncer {
  readonly #replica: Watched
  readonly #announce: (begun: Beginning) => void
  #known: readonly Beginning[] = []
  #looked = Infinity
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (replica: Watched, announce: (begun: Beginning) => void) {
    this.#replica = replica
    this.#announce = announce
  }

  /** To be called after each read: documents may have changed, and the store's clock is known better. */
  look (): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    const now = this.#replica.now()
    const { beginnings } = this.#replica.snapshot
    const passed = beginnings.slice(countUntil(beginnings, this.#looked - latest), countUntil(beginnings, now))
    const begun = passed.filter((one) => {
      const isKnown = beginnings === this.#known || this.#known.some((other) => isSame(one, other))
      return isKnown ? one.at > this.#looked : one.heldBack === true
    })
    this.#known = beginnings
    this.#looked = now
    const next = beginnings[countUntil(beginnings, now)]
    if (next !== undefined) {
      // While the store is silent its clock stands still at last; the read that ends that looks at once.
      const shortest = this.#replica.status === 'STALE' ? 1000 : 1
      this.#timer = setTimeout(() => this.look(), Math.min(longest, Math.max(shortest, next.at - now))).unref()
    }
    for (const one of begun) this.#announce(one)
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }
}

function isSame (one: Beginning, other: Beginning): boolean {
  return one.at === other.at && one.stage === other.stage && one.flag === other.flag && one.environment === other.environment && one.rule === other.rule
}
