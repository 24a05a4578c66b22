import type { EvaluationContext } from '../model/context.js'
import type { Experiment } from '../model/experiment.js'

/** Where it is remembered which units were seen with an answer: as one bit of what a group of answers keeps of a unit. */
export interface SeenBy {
  readonly group: { has (unit: string, bit: number): boolean, add (unit: string, bit: number): void }
  readonly bit: number
}

/** An answer that an experiment counts. It belongs to one outcome of a compiled flag, and counts how often that was read, so that once more costs no lookup. */
export class Trial {
  /** How often the answer was read since that was last counted. */
  reads = 0
  /** Set by whoever remembers that. */
  seenBy: SeenBy | undefined

  /** `unitOf` gives who was drawn, '' when there is nobody. */
  constructor (readonly experiment: Experiment, readonly variant: string, readonly unitOf: (context: EvaluationContext) => string) {}
}
