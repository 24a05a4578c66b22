import Type, { type Static } from 'typebox'
import { Key } from './key.js'

export const operators = [
  'eq', 'ne', 'in', 'not_in', 'gt', 'gte', 'lt', 'lte',
  'contains', 'not_contains', 'starts_with', 'ends_with', 'matches',
  'exists', 'not_exists',
  'semver_eq', 'semver_gt', 'semver_gte', 'semver_lt', 'semver_lte',
  'before', 'after', 'in_cidr'
] as const

export const Operator = Type.Enum([...operators], { description: `one of ${operators.join(', ')}` })
export type Operator = typeof operators[number]

const Scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean()], { description: 'a text, a number, true or false' })

/** One comparison of an attribute of the evaluation context with a value. Semantics: `evaluation/conditions.ts`. */
export const Condition = Type.Object({
  attribute: Type.String({ minLength: 1, maxLength: 200, description: 'the name of an attribute of the context, or a dotted path into one' }),
  operator: Operator,
  value: Type.Optional(Type.Union([Scalar, Type.Array(Scalar)], { description: 'a text, a number, true, false, or a list of these where the operator takes one' })),
  ignoreCase: Type.Optional(Type.Boolean({ description: 'true to compare texts without regard to case' }))
}, { additionalProperties: false, description: 'a condition such as { "attribute": "plan", "operator": "in", "value": ["pro"] }' })
export type Condition = Omit<Static<typeof Condition>, 'operator'> & { operator: Operator }

/** What a rule or a segment asks: `all`, `any` or `not` of further ones, a condition, or a segment by its key. */
export const When = Type.Cyclic({
  When: Type.Union([
    Type.Object({ all: Type.Array(Type.Ref('When'), { minItems: 1, description: 'a list of one or more conditions that must all hold' }) }, { additionalProperties: false }),
    Type.Object({ any: Type.Array(Type.Ref('When'), { minItems: 1, description: 'a list of one or more conditions of which one must hold' }) }, { additionalProperties: false }),
    Type.Object({ not: Type.Ref('When') }, { additionalProperties: false }),
    Type.Object({ segment: Key }, { additionalProperties: false }),
    Condition
  ], { description: 'one of { "all": […] }, { "any": […] }, { "not": … }, { "segment": key } or a condition' })
}, 'When')
export type When = { all: When[] } | { any: When[] } | { not: When } | { segment: string } | Condition
