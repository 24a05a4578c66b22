import { unescape } from 'node:querystring'
import type { FastifyRequest } from 'fastify'
import { errors, type ErrorDetail } from '../errors.js'
import type { EvaluationContext } from '../model/context.js'
import { jsonTypeOf, pointer } from '../model/json.js'
import { isKey } from '../model/key.js'
import { didYouMean } from '../model/nearest.js'
import { invalid } from './scope.js'

/** Who a caller says is asking, and about which environment. */
export interface Asking {
  context: EvaluationContext
  environment: string | undefined
}

// Hot. It reads the query as it was sent, whatever query parser the host has, in one pass without objects in between.
/** What a query says; undefined where there is none. A parameter that stands twice is a list. */
export function askingInQuery (request: FastifyRequest): Asking | undefined {
  const url = request.raw.url ?? ''
  let at = url.indexOf('?') + 1
  if (at === 0 || at === url.length) return undefined
  let user, targetingKey, region, environment, groups: string[] | undefined
  let attributes: Record<string, string | string[]> | undefined
  for (let end; at < url.length; at = end + 1) {
    end = url.indexOf('&', at)
    if (end === -1) end = url.length
    const equals = url.indexOf('=', at)
    const split = equals === -1 || equals > end ? end : equals
    const name = decodeParameter(url.slice(at, split))
    const value = split === end ? '' : decodeParameter(url.slice(split + 1, end))
    switch (name) {
      case '': break
      case 'user': user = only(name, user, value); break
      case 'targetingKey': targetingKey = only(name, targetingKey, value); break
      case 'region': region = only(name, region, value); break
      case 'environment': environment = only(name, environment, value); break
      case 'groups': (groups ??= []).push(value); break
      default: {
        attributes ??= Object.create(null) as Record<string, string | string[]> // so that any name is an own property
        const before = attributes[name]
        if (before === undefined) attributes[name] = value
        else if (typeof before === 'string') attributes[name] = [before, value]
        else before.push(value)
      }
    }
  }
  if (environment && !isKey(environment)) throw new errors.INVALID_REQUEST(`There can be no environment ${JSON.stringify(environment)}; leave the parameter out for the one this server answers for`)
  return { context: identify(attributes ?? {}, oneKey(user, targetingKey), groups && splitGroups(groups), region), environment: environment || undefined }
}

function only (name: string, before: string | undefined, value: string): string {
  if (before !== undefined) throw new errors.INVALID_REQUEST(`The query parameter ${name} stands twice; send it once`)
  if (value.length > 1000) throw new errors.INVALID_REQUEST(`The query parameter ${name} is longer than 1,000 characters`)
  return value
}

/** As forms are encoded: "+" is a space; a malformed escape stays as it is, beside those that are not. */
function decodeParameter (text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  return spaced.includes('%') ? unescape(spaced) : spaced
}

/**
 * Reads a body that is the context itself, `{ "targetingKey": "u1", "plan": "pro" }`, or holds it: `{ "context": { … }, "environment": "staging" }`.
 * No body at all is nothing said.
 */
export function askingInBody (body: unknown): Asking | undefined {
  if (body === undefined) return undefined
  const faults: ErrorDetail[] = []
  const sent = objectOr(body, () => faults.push({ path: '', message: 'must be an object such as { "context": { "targetingKey": "u1", "plan": "pro" } }' }))
  const isHolder = Object.hasOwn(sent, 'context')
  const { context = {}, environment, ...others } = isHolder ? sent : { ...sent, context: withoutEnvironment(sent) }
  for (const [name, value] of Object.entries(others).slice(0, 100)) {
    // Beside each other attributes may have any name, but an object's that looks like "context" is a slip of the pen.
    const hint = didYouMean(name, ['context', 'environment'])
    if (isHolder || (hint !== '' && jsonTypeOf(value) === 'object')) faults.push({ path: pointer('', name), message: `is not known here; what is known of who asks stands in "context", such as { "context": { "targetingKey": "u1", "plan": "pro" } }${hint}` })
  }
  if (environment !== undefined && !isKey(environment)) faults.push({ path: '/environment', message: 'must be the name of an environment; leave it out for the one this server answers for' })
  const place = isHolder ? '/context' : ''
  const { user, ...said } = objectOr(context, () => faults.push({ path: '/context', message: 'must be an object such as { "targetingKey": "u1", "plan": "pro" }' }))
  const { targetingKey, groups, region } = said
  for (const [name, value] of Object.entries({ user, targetingKey, region })) {
    if (!isMissing(value) && !isShortText(value)) faults.push({ path: `${place}/${name}`, message: 'must be a text of at most 1,000 characters, in quotes' })
  }
  if (!isMissing(groups) && !(Array.isArray(groups) && groups.every(isShortText))) faults.push({ path: `${place}/groups`, message: 'must be a list of texts such as ["beta", "staff"]' })
  if (faults.length > 0) throw invalid('body', faults)
  return {
    context: identify(said as EvaluationContext, oneKey(user as string, targetingKey as string), groups as string[], region as string),
    environment: environment as string | undefined
  }
}

function withoutEnvironment ({ environment, ...context }: Record<string, unknown>): Record<string, unknown> {
  return context
}

function objectOr (value: unknown, refuse: () => void): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  refuse()
  return {}
}

/** Nothing said: null too, as some clients write it. */
export function isMissing (value: unknown): value is undefined | null {
  return value === undefined || value === null
}

/** What may be a targeting key, a group or a region. */
export function isShortText (value: unknown): value is string {
  return typeof value === 'string' && value.length <= 1000
}

function oneKey (user: string | null | undefined, targetingKey: string | null | undefined): string | null | undefined {
  if (user && targetingKey && user !== targetingKey) throw new errors.INVALID_REQUEST('user and targetingKey are two names for one thing, and they differ; send one of them')
  return targetingKey || user
}

/** Puts an identity into what is said; what is empty of it is none. In place, for it is nobody else's. Hot: mostly it is there already. */
export function identify (said: EvaluationContext, targetingKey: string | null | undefined, groups: readonly string[] | null | undefined, region: string | null | undefined): EvaluationContext {
  const identity = { targetingKey: targetingKey || undefined, groups: groups?.length ? groups : undefined, region: region || undefined }
  if (said.targetingKey !== identity.targetingKey) said.targetingKey = identity.targetingKey
  if (said.groups !== identity.groups) said.groups = identity.groups
  if (said.region !== identity.region) said.region = identity.region
  return said
}

/** As in a header: split at commas first, then each item percent-decoded and trimmed, empty and repeated ones dropped. */
function splitGroups (values: string[]): string[] {
  const groups = new Set<string>()
  for (const value of values) for (const item of value.split(',')) groups.add(decode(item).trim())
  groups.delete('')
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
export function settleContext (own: EvaluationContext, said: EvaluationContext, accepts: boolean): EvaluationContext {
  if (isSomebody(own)) return { ...said, targetingKey: undefined, groups: undefined, region: undefined, ...own }
  if (isSomebody(said) && !accepts) throw new errors.FORBIDDEN('Who is asking is not taken from the query or the body here: leave out user, targetingKey, groups and region, or let the server take evaluation tokens (evaluation.tokens), trust the headers you send (trust), or trust its callers (evaluation.identity: "caller")')
  if (Object.keys(own).length === 0) return said // hot: no copy
  const { targetingKey, groups, region } = said
  return { ...said, ...own, targetingKey, groups, region }
}

function isSomebody (context: EvaluationContext): boolean {
  return Boolean(context.targetingKey || context.region || context.groups?.length)
}
