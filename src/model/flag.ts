import Type, { type Static } from 'typebox'
import { When } from './condition.js'
import { DateTime } from './date-time.js'
import type { JsonValue } from './json.js'
import { Kept, Key, MetadataName } from './key.js'
import { Percentage, Serve } from './serve.js'

const Names = (what: string, example: string) => Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 1000, description: 'a text of 1 to 1000 characters' }), { description: `a list of ${what}, such as ${example}` }))

/** Who gets a variant by name. An empty list names nobody. */
export const Target = Type.Object({
  variant: Type.Optional(Key),
  users: Names('targeting keys', '["user_123"]'),
  groups: Names('group names', '["beta"]'),
  regions: Names('region names', '["eu"]')
}, { additionalProperties: false, description: 'a target such as { "users": ["u1"], "groups": ["beta"] }' })
export type Target = Static<typeof Target>

export const Rule = Type.Object({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'a text of 1 to 200 characters' })),
  when: When,
  serve: Type.Optional(Serve)
}, { additionalProperties: false, description: 'a rule such as { "when": { "attribute": "plan", "operator": "eq", "value": "pro" }, "serve": "on" }' })
export type Rule = Omit<Static<typeof Rule>, 'when'> & { when: When }

export const Prerequisite = Type.Object({
  flag: Key,
  variant: Type.Optional(Key)
}, { additionalProperties: false, description: 'a prerequisite such as { "flag": "new-checkout", "variant": "on" }' })
export type Prerequisite = Static<typeof Prerequisite>

const Experiment = Type.Object({
  control: Type.Optional(Key),
  iteration: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'a whole number, 1 or more; another one begins the counts anew' })),
  layer: Type.Optional(Key),
  range: Type.Optional(Type.Array(Percentage, { minItems: 2, maxItems: 2, description: 'which part of the layer, from and to in percent, such as [0, 50]; left out, an even share of what no range holds' })),
  holdout: Type.Optional(Type.Number({ minimum: 0, maximum: 100, description: 'a number from 0 to 100: how many percent of the layer stay out of all of its experiments, such as 10' }))
}, { additionalProperties: false, description: 'an experiment such as { "control": "control" } or { "layer": "checkout" }' })

/** The fields that decide; in each environment, or at the top of a flag without environments. */
const deciding = {
  enabled: Type.Optional(Type.Boolean({ description: 'true or false' })),
  prerequisites: Type.Optional(Type.Array(Prerequisite, { maxItems: 100, description: 'a list of at most 100 prerequisites such as { "flag": "new-checkout" }' })),
  targets: Type.Optional(Type.Array(Target, { maxItems: 1000, description: 'a list of at most 1000 targets such as { "users": ["user_123"] }' })),
  rules: Type.Optional(Type.Array(Rule, { maxItems: 1000, description: 'a list of at most 1000 rules such as { "when": { "attribute": "plan", "operator": "eq", "value": "pro" }, "serve": "on" }' })),
  serve: Type.Optional(Serve),
  experiment: Type.Optional(Experiment)
}

/** The names of the fields above, for moving and comparing them. */
export const decidingFields = ['enabled', 'prerequisites', 'targets', 'rules', 'serve', 'experiment'] as const

export const Environment = Type.Object(deciding, { additionalProperties: false, description: 'an environment such as { "enabled": true, "serve": "on" }' })
export interface Environment extends Omit<Static<typeof Environment>, 'rules'> { rules?: Rule[] }

export const Variants = Type.Union([
  Type.Array(Key, { minItems: 1, maxItems: 1000 }),
  Type.Record(Key, Type.Unknown(), { minProperties: 1, maxProperties: 1000, additionalProperties: false })
], { description: 'a list of names such as ["control", "new"], or an object of name to value, all values of one JSON type' })
export type Variants = string[] | Record<string, JsonValue>

/** A flag as people write it and as stores keep it; short forms stay as given. */
export const Flag = Type.Object({
  key: Type.Optional(Key),
  description: Type.Optional(Type.String({ maxLength: 10_000, description: 'a text of at most 10,000 characters' })),
  owner: Type.Optional(Type.String({ maxLength: 200, description: 'a text of at most 200 characters' })),
  tags: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 200, description: 'a text of 1 to 200 characters' }), { maxItems: 100, description: 'a list of at most 100 texts' })),
  metadata: Type.Optional(Type.Record(MetadataName, Type.Union([Type.String(), Type.Number(), Type.Boolean()], { description: 'a text, a number, true or false' }),
    { additionalProperties: false, maxProperties: 100, description: 'an object of name to text, number, true or false, such as { "ticket": "PAY-12" }' })),
  expiresAt: Type.Optional(DateTime('when the flag should be gone')),
  public: Type.Optional(Type.Boolean({ description: 'true or false' })),
  variants: Type.Optional(Variants),
  offVariant: Type.Optional(Key),
  ...deciding,
  environments: Type.Optional(Type.Record(Key, Environment, { maxProperties: 1000, additionalProperties: false, description: 'an object of environment name to its settings' })),
  version: Type.Optional(Type.Integer({ minimum: 0, description: 'a whole number: the version that this change applies to' })),
  createdAt: Type.Optional(Kept),
  updatedAt: Type.Optional(Kept),
  updatedBy: Type.Optional(Kept)
}, { additionalProperties: false, description: 'a flag such as { "enabled": true }' })
export interface Flag extends Omit<Static<typeof Flag>, 'variants' | 'environments' | 'rules'> {
  variants?: Variants
  environments?: Record<string, Environment>
  rules?: Rule[]
}
