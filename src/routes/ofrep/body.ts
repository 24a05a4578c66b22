import type { FastifyRequest } from 'fastify'
import { errors } from '../../errors.js'
import type { EvaluationContext } from '../../model/context.js'
import { identify, isMissing, isShortText, type Asking } from '../asking.js'

/**
 * Who a client says is asking: the body of both evaluation requests. `{ "context": {} }` and null, which some clients send for an empty
 * context, are nobody known. Any other attribute may have any value; what the protocol may add beside `context` is not looked at.
 */
export function askingInOfrep ({ body }: FastifyRequest): Asking {
  if (body === undefined) throw new errors.INVALID_JSON('it is empty; send { "context": { "targetingKey": "user-1" } }')
  const context = isObject(body) ? body.context : undefined
  if (context === null) return { context: {}, environment: undefined }
  if (!isObject(context)) throw refuse(`the body must be an object such as { "context": { "targetingKey": "user-1", "plan": "pro" } }${context === undefined ? ', with all that is known of the user inside "context"' : ''}`)

  const { targetingKey, groups, region } = context
  if (!isMissing(targetingKey) && !isShortText(targetingKey)) throw refuse('context.targetingKey must be a text of at most 1,000 characters, in quotes')
  if (!isMissing(region) && !isShortText(region)) throw refuse('context.region must be a text of at most 1,000 characters')
  const list = isShortText(groups) ? [groups] : groups
  if (!isMissing(list) && !(Array.isArray(list) && list.every(isShortText))) throw refuse('context.groups must be a list of texts such as ["beta", "staff"]')
  return { context: identify(context as EvaluationContext, targetingKey, list, region), environment: undefined }
}

function refuse (sentence: string): Error {
  return new errors.INVALID_CONTEXT(sentence)
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
