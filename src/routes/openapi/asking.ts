import Type from 'typebox'
import { Key } from '../../model/key.js'
import type { Body, Parameter } from './operation.js'

const texts = { type: 'array', items: { type: 'string' } }

/** What a query may say of who asks. */
export const whoAsks: Record<string, Parameter> = {
  user: { description: 'Who asks: the targeting key, what percentages and splits go by.', example: 'user_123' },
  targetingKey: { description: 'Another name for `user`.' },
  groups: { description: 'The groups they are in, separated by commas.', example: 'beta,staff' },
  region: { description: 'The region they are in.', example: 'eu' },
  environment: { description: 'In place of the environment this server answers for.', schema: Key, example: 'production' },
  attributes: { description: 'Any other parameter is an attribute: `plan=pro&account_age_days=31`. One that stands twice is a list.', schema: { type: 'object', additionalProperties: { anyOf: [{ type: 'string' }, texts] } }, example: { plan: 'pro' } }
}

export const Context = Type.Object({
  targetingKey: Type.Optional(Type.String({ maxLength: 1000, description: 'Who asks: what percentages and splits go by.' })),
  groups: Type.Optional(Type.Array(Type.String({ maxLength: 1000 }), { description: 'The groups they are in.' })),
  region: Type.Optional(Type.String({ maxLength: 1000 }))
}, { additionalProperties: true, description: 'The evaluation context: who asks. Any other field is an attribute.' })

export const Asking = Type.Union([
  Type.Object({ context: Context, environment: Type.Optional(Key) }, { additionalProperties: false, description: 'The context, and which environment is meant.' }),
  Context
], { description: 'The context by itself, or under `context`.' })

/** A body that says who asks. */
export const asking: Body = {
  schema: Asking,
  required: false,
  examples: {
    'with an environment': { context: { targetingKey: 'user_123', groups: ['beta'], plan: 'pro' }, environment: 'production' },
    'just the context': { targetingKey: 'user_123', plan: 'pro' }
  }
}
