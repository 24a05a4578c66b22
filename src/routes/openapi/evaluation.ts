import Type from 'typebox'
import { Key } from '../../model/key.js'
import { asking, Asking, Context, whoAsks } from './asking.js'
import type { Operations } from './operation.js'

const Reason = Type.Enum(['STATIC', 'DEFAULT', 'TARGETING_MATCH', 'SPLIT', 'DISABLED', 'ERROR'], { description: 'Why, in OpenFeature\'s words.' })
const Cause = Type.Enum(['flag-disabled', 'environment-missing', 'environment-disabled', 'prerequisite-failed', 'target-user', 'target-group', 'target-region', 'rule', 'default', 'layer-miss', 'rollout-hit', 'rollout-miss', 'split', 'no-bucketing-key'], { description: 'Which line of the order of decision answered. Not told to browser tokens.' })

const Evaluation = Type.Object({
  key: Key,
  enabled: Type.Optional(Type.Boolean({ description: 'A boolean flag\'s value; of others whether a variant but `offVariant` is served, or a split chose.' })),
  value: Type.Unknown({ description: 'The value of the variant: any JSON.' }),
  variant: Type.Optional(Key),
  reason: Reason,
  cause: Type.Optional(Cause),
  rule: Type.Optional(Type.String({ description: 'The rule that answered: its name, else its index. Not told to browser tokens.' })),
  errorCode: Type.Optional(Type.String({ description: 'Only in lists: this flag could not be evaluated.' })),
  errorMessage: Type.Optional(Type.String()),
  environment: Type.Optional(Key),
  version: Type.Optional(Type.Integer({ description: 'The version of the flag.' }))
}, { description: 'What a flag answers for somebody.' })

const eventBase = {
  id: Type.String({ minLength: 1, maxLength: 200, description: 'Another for each event, and the same when the event is sent again: then it counts once.' }),
  context: Type.Optional(Context),
  time: Type.Optional(Type.Union([Type.String({ format: 'date-time' }), Type.Number()], { description: 'When it happened: a date and time, or milliseconds since 1970; at most 24 hours ago. Left out: now.' }))
}
const Event = Type.Union([
  Type.Object({ ...eventBase, type: Type.Literal('exposure'), flag: Key, variant: Key }, { additionalProperties: false, description: 'Somebody was shown a variant of a flag with an experiment. Send the whole context that the flag was evaluated with.' }),
  Type.Object({ ...eventBase, type: Type.Literal('conversion'), goal: Type.String({ minLength: 1, maxLength: 100, description: 'Such as `purchase`; there is no list of goals to keep.' }), value: Type.Optional(Type.Number({ minimum: 0, maximum: 1e12, description: 'What it is worth; 0 unless given.' })) }, { additionalProperties: false, description: 'Somebody reached a goal. It counts in each experiment they were exposed to before, once.' }),
  Type.Object({ ...eventBase, type: Type.Literal('outcome'), flag: Key, variant: Key, failed: Type.Boolean({ description: 'Whether the request ended in an error of the server.' }), durationMs: Type.Optional(Type.Number({ minimum: 0, description: 'How long it took.' })) }, { additionalProperties: false, description: 'How a request went that was served a variant of a rollout with a guard. From servers\' tokens only. Send the whole context that the flag was evaluated with.' })
], { description: 'What happened to somebody.' })
const EventError = Type.Object({
  index: Type.Integer({ description: 'Which event of the batch, the first being 0.' }),
  id: Type.Optional(Type.String()),
  code: Type.String({ description: 'Such as `FST_FLAGS_EVENT_REFUSED`.' }),
  message: Type.String(),
  details: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() })))
}, { description: 'Why an event was not taken.' })
const Taken = Type.Object({ accepted: Type.Integer({ description: 'How many events were taken.' }), errors: Type.Array(EventError) })

const example = { key: 'beta_features', enabled: true, value: true, variant: 'on', reason: 'TARGETING_MATCH', cause: 'target-user', environment: 'production', version: 3 }
const headers = { 'Cache-Control': '`private, no-cache`: an answer is for whoever asked.' }
const one = { description: 'What the flag answers, and why.', schema: Evaluation, example, headers }

export const evaluationOperations: Operations = {
  tag: { name: 'Evaluation', description: 'For people, and for stacks without an OpenFeature SDK.' },
  access: 'evaluation',
  errors: ['INVALID_REQUEST', 'FORBIDDEN', 'NOT_READY'],
  schemas: { Evaluation, Event, EventError, Context, Asking, Reason, Cause },
  routes: {
    'GET /flags/:key/evaluate': {
      summary: 'Evaluate a flag',
      description: 'Who asks stands in the query. What trusted identity headers say of that goes before.',
      query: whoAsks,
      answers: { 200: one },
      errors: ['FLAG_NOT_FOUND', 'NOT_EVALUATED']
    },
    'POST /flags/:key/evaluate': {
      summary: 'Evaluate a flag, with the context in the body',
      body: asking,
      answers: { 200: one },
      errors: ['FLAG_NOT_FOUND', 'NOT_EVALUATED']
    },
    'POST /flags/events': {
      summary: 'Report exposures, conversions and outcomes',
      description: 'For experiments and guarded rollouts whose values other stacks show. Events are taken each for itself and counted within seconds; browser tokens reach public flags only.',
      body: {
        schema: Type.Object({ events: Type.Array(Event, { minItems: 1, maxItems: 10_000 }), environment: Type.Optional(Key) }, { additionalProperties: false }),
        examples: {
          'an exposure and a conversion': {
            events: [
              { id: '6f1c', type: 'exposure', flag: 'pricing_page_experiment', variant: 'variant_a', context: { targetingKey: 'user_123' } },
              { id: '6f1d', type: 'conversion', goal: 'purchase', value: 49.9, context: { targetingKey: 'user_123' } }
            ]
          },
          'how a request went': {
            events: [
              { id: '6f1e', type: 'outcome', flag: 'new_payment_system', variant: 'on', failed: true, durationMs: 812, context: { targetingKey: 'user_123' } }
            ]
          }
        }
      },
      answers: {
        202: { description: 'All events were taken.', schema: Taken, example: { accepted: 2, errors: [] } },
        207: { description: 'Some events, or all, were not taken: `errors` says which and why.', schema: Taken, example: { accepted: 1, errors: [{ index: 1, id: '6f1d', code: 'FST_FLAGS_EVENT_REFUSED', message: 'time lies in the future; leave it out for now' }] } }
      },
      errors: ['EVENTS_FULL']
    },
    'GET /flags': {
      summary: 'Evaluate all flags',
      description: 'In the order of their keys. It counts as no evaluation in the metrics.',
      query: whoAsks,
      answers: { 200: { description: 'What each flag answers.', schema: Type.Object({ flags: Type.Array(Evaluation) }), example: { flags: [example] }, headers } }
    }
  }
}
