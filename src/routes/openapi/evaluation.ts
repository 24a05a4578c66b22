import Type from 'typebox'
import { Key } from '../../model/key.js'
import { asking, Asking, Context, whoAsks } from './asking.js'
import type { Operations } from './operation.js'

const Reason = Type.Enum(['STATIC', 'DEFAULT', 'TARGETING_MATCH', 'SPLIT', 'DISABLED', 'ERROR'], { description: 'Why, in OpenFeature\'s words.' })
const Cause = Type.Enum(['flag-disabled', 'environment-missing', 'environment-disabled', 'prerequisite-failed', 'target-user', 'target-group', 'target-region', 'rule', 'default', 'rollout-hit', 'rollout-miss', 'split', 'no-bucketing-key'], { description: 'Which line of the order of decision answered. Not told to browser tokens.' })

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

const example = { key: 'beta_features', enabled: true, value: true, variant: 'on', reason: 'TARGETING_MATCH', cause: 'target-user', environment: 'production', version: 3 }
const headers = { 'Cache-Control': '`private, no-cache`: an answer is for whoever asked.' }
const one = { description: 'What the flag answers, and why.', schema: Evaluation, example, headers }

export const evaluationOperations: Operations = {
  tag: { name: 'Evaluation', description: 'For people, and for stacks without an OpenFeature SDK.' },
  access: 'evaluation',
  errors: ['INVALID_REQUEST', 'FORBIDDEN', 'NOT_READY'],
  schemas: { Evaluation, Context, Asking, Reason, Cause },
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
    'GET /flags': {
      summary: 'Evaluate all flags',
      description: 'In the order of their keys. It counts as no evaluation in the metrics.',
      query: whoAsks,
      answers: { 200: { description: 'What each flag answers.', schema: Type.Object({ flags: Type.Array(Evaluation) }), example: { flags: [example] }, headers } }
    }
  }
}
