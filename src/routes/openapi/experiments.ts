import Type from 'typebox'
import type { Counts } from '../../experiments/counts.js'
import { resultsOf } from '../../experiments/results.js'
import type { Operation, Operations } from './operation.js'

const count = (description?: string) => Type.Integer({ minimum: 0, ...(description !== undefined && { description }) })
const byVariant = <T extends Parameters<typeof Type.Record>[1]>(schema: T, description: string) => Type.Record(Type.String(), schema, { description })

const Interval = Type.Union([Type.Array(Type.Number(), { minItems: 2, maxItems: 2 }), Type.Null()], { description: 'Its low and high end; such an interval holds the truth 95 times in 100.' })
const Told = (description: string) => Type.Union([Type.Number(), Type.Null()], { description })
const Comparison = Type.Object({
  difference: Told('Of the variant less that of the control.'),
  differenceInterval: Interval,
  lift: Told('The difference as a share of the control\'s: 0.1 is 10 % more.'),
  liftInterval: Interval,
  pValue: Told('How often chance alone brings a difference as large, if one looks once, at a moment chosen beforehand.'),
  alwaysValid: Told('The same, however often one looks and whenever one stops.'),
  unitsNeeded: Told('How many units more the two need together so that a lift of `effect` is found in 80 of 100 experiments; 0 when they have them.')
}, { description: 'Null stands where there is too little to tell.' })
const Goal = Type.Object({
  conversions: count('Units that reached the goal after they were exposed.'),
  sum: Type.Number({ description: 'Of the values of their first conversions.' }),
  squares: Type.Number({ description: 'Of the squares of these.' }),
  rate: Told('The part of the units that reached the goal.'),
  rateInterval: Interval,
  mean: Told('The value a unit; that of units which did not reach the goal is 0.'),
  against: Type.Optional(Type.Object({ rate: Comparison, mean: Type.Optional(Comparison) }, { description: 'How the rate, and the mean where there are values, compare with the control\'s. Not there for the control.' }))
})
const Variant = Type.Object({
  units: count('Different units first exposed to this variant.'),
  exposures: count('How often it was read; units that return count again.'),
  switched: count('Of the units, those that were later exposed to another variant.'),
  goals: Type.Record(Type.String(), Goal)
}, { description: 'What a variant came to.' })
const Day = Type.Object({
  day: Type.String({ description: 'In UTC.' }),
  variants: byVariant(Type.Object({ units: count(), exposures: count(), conversions: Type.Record(Type.String(), count()) }), 'New units, reads, and units that first reached a goal on this day.')
})
const Experiment = Type.Object({
  key: Type.String(),
  environment: Type.String(),
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  control: Type.String({ description: 'The variant that the others are compared with.' }),
  effect: Type.Number({ description: 'The lift that `unitsNeeded` is about.' }),
  sampleRatio: Type.Union([Type.Object({
    pValue: Type.Number({ description: 'How often chance alone brings sizes so far from the shares.' }),
    expected: byVariant(Type.Number(), 'How many units each should have.'),
    isSuspect: Type.Boolean({ description: 'Whether that is below 0.001.' })
  }), Type.Null()], { description: 'Whether the variants have the units that they should; null where nothing can be said of that.' }),
  warnings: Type.Array(Type.String(), { description: 'What must be known before any number is believed.' }),
  since: Type.Union([Type.Unsafe<string>({ type: 'string', format: 'date-time' }), Type.Null()], { description: 'When the first of it was recorded.' }),
  variants: byVariant(Variant, 'Every variant of the experiment.'),
  days: Type.Array(Day),
  shares: Type.Union([byVariant(Type.Number(), 'Which share of the units each should have had.'), Type.Null()], { description: 'Null where the weights changed meanwhile, or rise by stages.' }),
  ignored: Type.Object({ unexposed: count('Conversions of units that had not been exposed.'), goals: count('Conversions to more goals than the 50 that are counted.') }),
  process: Type.Object({ waiting: count('Events of the answering process that are on their way.'), dropped: count('And those it had no room for.') })
}, { description: 'What an experiment has counted, and what that says.' })

const exampleCounts: Counts = {
  variants: {
    control: { units: 5012, exposures: 9120, switched: 0, goals: { purchase: { conversions: 401, sum: 20_010, squares: 1_020_100 } } },
    variant_a: { units: 2488, exposures: 4511, switched: 0, goals: { purchase: { conversions: 236, sum: 12_114, squares: 641_300 } } }
  },
  days: [{ day: '2026-11-20', variants: { control: { units: 5012, exposures: 9120, conversions: { purchase: 401 } }, variant_a: { units: 2488, exposures: 4511, conversions: { purchase: 236 } } } }],
  shares: { control: 0.6667, variant_a: 0.3333 },
  since: Date.UTC(2026, 10, 20, 8),
  ignored: { unexposed: 12, goals: 0 }
}
const day = { pattern: '^\\d{4}-\\d{2}-\\d{2}$', type: 'string' }

const look: Operation = {
  summary: 'What an experiment has counted, and what that says',
  description: 'Each unit once, whatever the days: a range picks the units first exposed in it, whose conversions count whenever they came. A changed set of variants, `iteration` or `layer` begins anew.',
  query: { from: { description: 'The first UTC day; left out, the first there is.', schema: day, example: '2026-11-20' }, to: { description: 'The last UTC day, included.', schema: day, example: '2026-11-30' }, effect: { description: 'The lift that one wants to be able to find, for `unitsNeeded`; 0.1, which is 10 %, unless given.', schema: { type: 'number' }, example: '0.05' } },
  answers: {
    200: {
      description: 'The counts now, those of this process included as far as they are recorded.',
      schema: Experiment,
      example: {
        key: 'pricing_page_experiment',
        environment: 'production',
        ...resultsOf(exampleCounts, 'control'),
        process: { waiting: 3, dropped: 0 }
      }
    }
  },
  errors: ['FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT', 'EXPERIMENT_NOT_FOUND', 'STORE_UNAVAILABLE']
}

export const experimentOperations: Pick<Operations, 'schemas' | 'routes'> = {
  schemas: { Experiment },
  routes: { 'GET /flags/:key/experiment': look, 'GET /flags/:key/environments/:environment/experiment': look }
}
