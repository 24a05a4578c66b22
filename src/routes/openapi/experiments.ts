import Type from 'typebox'
import type { Operation, Operations } from './operation.js'
import { operations as others } from './rollouts.js'

const count = (description?: string) => Type.Integer({ minimum: 0, ...(description !== undefined && { description }) })
const byVariant = <T extends Parameters<typeof Type.Record>[1]>(schema: T, description: string) => Type.Record(Type.String(), schema, { description })

const Goal = Type.Object({
  conversions: count('Units that reached the goal after they were exposed.'),
  sum: Type.Number({ description: 'Of the values of their first conversions.' }),
  squares: Type.Number({ description: 'Of the squares of these.' })
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
  since: Type.Union([Type.Unsafe<string>({ type: 'string', format: 'date-time' }), Type.Null()], { description: 'When the first of it was recorded.' }),
  variants: byVariant(Variant, 'Every variant of the experiment.'),
  days: Type.Array(Day),
  shares: Type.Union([byVariant(Type.Number(), 'Which share of the units each should have had.'), Type.Null()], { description: 'Null where the weights changed meanwhile, or rise by stages.' }),
  ignored: Type.Object({ unexposed: count('Conversions of units that had not been exposed.'), goals: count('Conversions to more goals than the 50 that are counted.') }),
  process: Type.Object({ waiting: count('Events of the answering process that are on their way.'), dropped: count('And those it had no room for.') })
}, { description: 'What an experiment has counted.' })

const goals = (conversions: number, sum: number) => ({ purchase: { conversions, sum, squares: sum * 50 } })
const day = { pattern: '^\\d{4}-\\d{2}-\\d{2}$', type: 'string' }

const look: Operation = {
  summary: 'What an experiment has counted',
  description: 'Each unit once, whatever the days: a range picks the units first exposed in it, whose conversions count whenever they came. A changed set of variants or `iteration` begins anew.',
  query: { from: { description: 'The first UTC day; left out, the first there is.', schema: day, example: '2026-11-20' }, to: { description: 'The last UTC day, included.', schema: day, example: '2026-11-30' } },
  answers: {
    200: {
      description: 'The counts now, those of this process included as far as they are recorded.',
      schema: Experiment,
      example: {
        key: 'pricing_page_experiment',
        environment: 'production',
        control: 'control',
        since: '2026-11-20T08:00:00.000Z',
        variants: {
          control: { units: 5012, exposures: 9120, switched: 0, goals: goals(401, 20_010) },
          variant_a: { units: 2488, exposures: 4511, switched: 0, goals: goals(236, 12_114) }
        },
        days: [{ day: '2026-11-20', variants: { control: { units: 5012, exposures: 9120, conversions: { purchase: 401 } }, variant_a: { units: 2488, exposures: 4511, conversions: { purchase: 236 } } } }],
        shares: { control: 0.6667, variant_a: 0.3333 },
        ignored: { unexposed: 12, goals: 0 },
        process: { waiting: 3, dropped: 0 }
      }
    }
  },
  errors: ['FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT', 'EXPERIMENT_NOT_FOUND', 'STORE_UNAVAILABLE']
}

/** Of all admin routes. */
export const operations: Operations = {
  ...others,
  schemas: { ...others.schemas, Experiment },
  routes: { ...others.routes, 'GET /flags/:key/experiment': look, 'GET /flags/:key/environments/:environment/experiment': look }
}
