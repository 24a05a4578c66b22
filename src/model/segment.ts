import Type, { type Static } from 'typebox'
import { When } from './condition.js'
import { Kept, Key } from './key.js'

/** A named `when`, shared by many rules. */
export const Segment = Type.Object({
  key: Type.Optional(Key),
  description: Type.Optional(Type.String({ maxLength: 10_000, description: 'a text of at most 10,000 characters' })),
  when: When,
  version: Type.Optional(Type.Integer({ minimum: 0, description: 'a whole number: the version that this change applies to' })),
  createdAt: Type.Optional(Kept),
  updatedAt: Type.Optional(Kept),
  updatedBy: Type.Optional(Kept)
}, { additionalProperties: false, description: 'a segment such as { "when": { "attribute": "country", "operator": "in", "value": ["de", "fr"] } }' })
export interface Segment extends Omit<Static<typeof Segment>, 'when'> { when: When }
