import type { EvaluationContext } from '../model/context.js'
import type { Experiment } from '../model/experiment.js'

/** An answer that an experiment counts. It belongs to one outcome of a compiled flag, and counts how often that was read, so that once more costs no lookup. */
export class Trial {
  /** How often the answer was read since that was last counted. */
  reads = 0

  /** `unitOf` gives who was drawn, '' when there is nobody. */
  constructor (readonly experiment: Experiment, readonly variant: string, readonly unitOf: (context: EvaluationContext) => string) {}
}
