import type { EvaluationContext } from '../model/context.js'
import type { Experiment } from '../model/experiment.js'

/** Of each variant so many units are remembered at least, and twice as many at most; about 100 bytes each. */
const remembered = 2000

/**
 * An answer that an experiment counts. It belongs to one outcome of a compiled flag, and keeps what this process has seen
 * of it, so that a unit which comes again costs one lookup.
 */
export class Trial {
  /** How often the answer was read since that was last counted. */
  reads = 0
  #recent = new Set<string>()
  #before = new Set<string>()

  /** `unitOf` gives who was drawn, '' when there is nobody. */
  constructor (readonly experiment: Experiment, readonly variant: string, readonly unitOf: (context: EvaluationContext) => string) {}

  /** Whether the unit was remembered not long ago. Hot. */
  knows (unit: string): boolean {
    return this.#recent.has(unit) || (this.#before.size > 0 && this.#before.has(unit))
  }

  remember (unit: string): void {
    if (this.#recent.size >= remembered) {
      this.#before = this.#recent
      this.#recent = new Set()
    }
    this.#recent.add(unit)
  }
}
