import Type from 'typebox'
import { Condition, Operator, When as CyclicWhen } from '../../model/condition.js'
import { Environment, Flag, Prerequisite, Rule, Target, Variants } from '../../model/flag.js'
import { Key } from '../../model/key.js'
import { Segment } from '../../model/segment.js'
import { Draw, RolloutState, Serve, Stage } from '../../model/serve.js'
import type { Schema } from './operation.js'

const problem = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String({ description: 'Stable, and the same for the same fault.' }),
  error: Type.String({ description: 'The status in words.' }),
  message: Type.String({ description: 'What is wrong, and what to do next.' }),
  details: Type.Optional(Type.Array(Type.Object({
    path: Type.String({ description: 'A JSON pointer into what was sent; empty is the whole.' }),
    message: Type.String({ description: 'How to mend this field.' })
  })))
})

// Within itself it is known by a name that only a validator follows.
const { $id, ...When } = JSON.parse(JSON.stringify(CyclicWhen.$defs.When)) as { $id: string } & Record<string, unknown>

/** Further forms of a named schema. */
export const aliases: Array<{ name: string, schema: Schema }> = [{ name: 'When', schema: CyclicWhen }, { name: 'When', schema: { $ref: $id } }]

/** The documents and their parts, and what more than one route group answers with. */
export const namedSchemas: Record<string, Schema> = { Error: problem, Key, Flag, Environment, Variants, Target, Rule, Prerequisite, When, Condition, Operator, Serve, Draw, Stage, RolloutState, Segment }
