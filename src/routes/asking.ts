import { parse } from 'node:querystring'
import type { FastifyRequest } from 'fastify'
import Type, { type Static } from 'typebox'
import { errors } from '../errors.js'
import type { EvaluationContext } from '../model/context.js'
import { isKey, Key } from '../model/key.js'

const Identity = Type.Union([Type.String({ maxLength: 1000 }), Type.Null()], { description: 'a text of at most 1,000 characters' })

/** What a caller may say in a body: OpenFeature's flat context, where `user` is another word for `targetingKey`. */
export const Question = Type.Object({
  context: Type.Optional(Type.Object({
    targetingKey: Type.Optional(Identity),
    user: Type.Optional(Identity),
    groups: Type.Optional(Type.Union([Type.Array(Type.String({ maxLength: 1000 }), { maxItems: 1000 }), Type.Null()])),
    region: Type.Optional(Identity)
  })),
  environment: Type.Optional(Key)
}, { additionalProperties: false })

/** Who a caller says is asking, and about which environment. Attributes are its own properties, without a prototype. */
export interface Asking {
  identity: Pick<EvaluationContext, 'targetingKey' | 'groups' | 'region'> | undefined
  attributes: EvaluationContext | undefined
  environment: string | undefined
}

/** Reads the query as it was sent, whatever query parser the host has: a parameter that stands twice is a list. */
export function readQuery (request: FastifyRequest): Asking | undefined {
  const url = request.raw.url ?? ''
  const start = url.indexOf('?')
  if (start === -1 || start === url.length - 1) return undefined
  const query = parse(url.slice(start + 1))
  let attributes: EvaluationContext | undefined
  for (const name in query) {
    if (!reserved.has(name) && name !== '') (attributes ??= Object.create(null) as EvaluationContext)[name] = query[name]
  }
  const environment = single(query, 'environment')
  if (environment !== undefined && !isKey(environment)) throw new errors.INVALID_REQUEST(`There can be no environment ${JSON.stringify(environment)}; leave the parameter out for the one this server answers for`)
  return {
    identity: identify(single(query, 'user'), single(query, 'targetingKey'), query.groups === undefined ? undefined : splitGroups(query.groups), single(query, 'region')),
    attributes,
    environment
  }
}

/** Reads a body that has passed the schema. */
export function readBody (question: Static<typeof Question> | undefined): Asking | undefined {
  if (question === undefined) return undefined
  const { context = {}, environment } = question
  let attributes: EvaluationContext | undefined
  for (const [name, value] of Object.entries(context)) {
    if (name !== 'environment' && reserved.has(name)) continue
    (attributes ??= Object.create(null) as EvaluationContext)[name] = value as EvaluationContext[string]
  }
  const { user, targetingKey, groups, region } = context
  return { identity: identify(user ?? undefined, targetingKey ?? undefined, groups ?? undefined, region ?? undefined), attributes, environment }
}

const reserved = new Set(['user', 'targetingKey', 'groups', 'region', 'environment'])

function single (query: ReturnType<typeof parse>, name: string): string | undefined {
  const value = query[name]
  if (Array.isArray(value)) throw new errors.INVALID_REQUEST(`The query parameter ${name} stands twice; send it once`)
  if (value !== undefined && value.length > 1000) throw new errors.INVALID_REQUEST(`The query parameter ${name} is longer than 1,000 characters`)
  return value === '' ? undefined : value
}

function identify (user: string | undefined, targetingKey: string | undefined, groups: string[] | undefined, region: string | undefined): Asking['identity'] {
  if (user && targetingKey && user !== targetingKey) throw new errors.INVALID_REQUEST('user and targetingKey are two names for one thing, and they differ; send one of them')
  const key = targetingKey || user
  if (!key && !region && (groups === undefined || groups.length === 0)) return undefined
  const identity: Asking['identity'] = {}
  if (key) identity.targetingKey = key
  if (groups !== undefined && groups.length > 0) identity.groups = groups
  if (region) identity.region = region
  return identity
}

/** As in a header: split at commas first, then each item percent-decoded and trimmed, empty and repeated ones dropped. */
function splitGroups (values: string | string[]): string[] {
  const groups = new Set<string>()
  for (const value of [values].flat()) {
    for (const item of value.split(',')) {
      const group = decode(item).trim()
      if (group !== '') groups.add(group)
    }
  }
  return [...groups]
}

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * The context to answer for. `own` is what this server knows of the request itself, from trusted headers or `context(request)`:
 * whoever is identified by that stays who they are, and attributes known from that stay as they are; the caller may add others.
 * The caller's identity counts, as a whole, where there is no own one, and only if `accepts`.
 */
export function settleContext (own: EvaluationContext, asking: Asking, accepts: boolean): EvaluationContext {
  const { identity, attributes } = asking
  const known = own.targetingKey || own.region || (own.groups !== undefined && own.groups.length > 0)
  if (known || identity === undefined) return attributes === undefined ? own : Object.assign(attributes, own)
  if (!accepts) throw new errors.FORBIDDEN('Who is asking is not taken from the query or the body here: leave out user, targetingKey, groups and region, or let the server take evaluation tokens (evaluation.tokens), trust the headers you send (trust), or trust its callers (evaluation.identity: \'caller\')')
  return Object.assign(attributes ?? Object.create(null) as EvaluationContext, own, identity)
}
