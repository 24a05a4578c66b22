import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { errors, type FlagsError } from '../errors.js'
import { toContext, type EvaluationContext } from '../model/context.js'
import type { IsTrusted } from './trust.js'

/** Which header carries what: `user` (the targeting key), `groups` (a list), `region`; any other name is an attribute. */
export interface HeaderNames {
  user: string
  groups: string
  region: string
  [attribute: string]: string
}

/** What is known of who sends a request: as `toContext` would make it. Never throws. */
export type ReadContext = (request: FastifyRequest) => EvaluationContext

/** What an app gives as the option `context`: who asks, by a context or just a targeting key. Nothing (undefined, null) is nobody. */
export type ContextFunction = (request: FastifyRequest) => EvaluationContext | string | undefined | null

const longest = 1024 // bytes of one header
const memoised = 1000 // group lists; at most about a megabyte of keys

const nobody: EvaluationContext = Object.freeze({})

/** A list of groups as it was read; undefined when nothing is in it. */
interface List { items: readonly string[] | undefined, mayBeRepeated: boolean }

// Of these Node keeps the first and drops the others, so a repeated one leaves no ", ".
const keptFirst = new Set([
  'age', 'authorization', 'content-length', 'content-type', 'etag', 'expires', 'from', 'host', 'if-modified-since', 'if-unmodified-since',
  'last-modified', 'location', 'max-forwards', 'proxy-authorization', 'referer', 'retry-after', 'server', 'user-agent'
])

/**
 * Reads the context from identity headers that count. Each value is read as UTF-8, a list is split at its commas, then each
 * item is percent-decoded and trimmed: `a%2Cb` is one item. What is no UTF-8 or a malformed escape stays as it was sent.
 * An empty value is none; a header that is repeated or longer than 1 KB is ignored.
 */
export function readHeaders ({ user, groups, region, ...attributes }: HeaderNames, isTrusted: IsTrusted): ReadContext {
  const names = [user, groups, region, ...Object.values(attributes)]
  const attributeNames = Object.entries(attributes)
  const mayBeKeptFirst = names.some((name) => keptFirst.has(name))
  const lists = new Map<string, List>()
  const told = new Set<string>()

  return (request) => {
    const { headers } = request
    if (!isTrusted(request)) {
      if (!told.has('untrusted')) tellUntrusted(request, headers)
      return nobody
    }
    const context: { -readonly [K in keyof EvaluationContext]: EvaluationContext[K] } = {}
    const targetingKey = value(request, headers, user)
    if (targetingKey !== undefined) context.targetingKey = targetingKey
    const items = list(request, headers, groups)
    if (items !== undefined) context.groups = items
    const where = value(request, headers, region)
    if (where !== undefined) context.region = where
    for (let i = 0; i < attributeNames.length; i++) {
      const [attribute, name] = attributeNames[i]!
      const text = value(request, headers, name)
      if (text !== undefined) context[attribute] = text
    }
    return context
  }

  function value (request: FastifyRequest, headers: IncomingHttpHeaders, name: string): string | undefined {
    const sent = headers[name]
    if (sent === undefined) return undefined
    // Hot: nothing to decode or to trim, not joined of several, as nearly all are.
    if (typeof sent === 'string' && sent.length <= longest && isPlain(sent) && !mayBeKeptFirst) return sent
    const text = raw(request, headers, name)
    return text === undefined ? undefined : decode(fromBytes(text)) || undefined
  }

  function raw (request: FastifyRequest, headers: IncomingHttpHeaders, name: string): string | undefined {
    const text = headers[name]
    if (text === undefined || text === '') return undefined
    if (typeof text !== 'string' || isRepeated(request.raw, name, text)) tellIgnored(request, name, 'it was sent more than once')
    else if (text.length > longest) tellIgnored(request, name, `it is longer than ${longest} bytes`)
    else return text
  }

  function list (request: FastifyRequest, headers: IncomingHttpHeaders, name: string): readonly string[] | undefined {
    const sent = headers[name]
    if (sent === undefined) return undefined
    // Hot: most requests of an app carry one of few lists.
    const known = lists.get(sent as string)
    if (known !== undefined && !known.mayBeRepeated) return known.items
    const text = raw(request, headers, name)
    if (text === undefined) return undefined
    if (known !== undefined) return known.items
    const items = [...new Set(fromBytes(text).split(',').map(decode))].filter((item) => item !== '')
    const read = { items: items.length === 0 ? undefined : Object.freeze(items), mayBeRepeated: mayBeRepeated(name, text) }
    if (lists.size >= memoised) lists.clear()
    lists.set(text, read)
    return read.items
  }

  function tellIgnored (request: FastifyRequest, name: string, why: string): void {
    if (told.has(name)) return
    told.add(name)
    request.log.warn(`fastify-flags: the header ${name} is ignored: ${why} (said once)`)
  }

  function tellUntrusted (request: FastifyRequest, headers: IncomingHttpHeaders): void {
    const sent = names.filter((name) => headers[name] !== undefined)
    if (sent.length === 0) return
    told.add('untrusted')
    request.log.warn(`fastify-flags: ignored ${sent.join(', ')}: this peer's identity headers do not count. If a proxy of yours overwrites them on every request, set trust to its address, such as trust: ['10.0.0.0/8']; to read who asks from a session or a token set context (said once)`)
  }
}

/** Asks the app's own function. One that throws, or returns what is no context, leaves an empty one and is reported. */
export function callContext (context: ContextFunction, report: (problem: FlagsError) => void): ReadContext {
  return (request) => {
    try {
      const given: unknown = context(request)
      if (isThenable(given)) {
        given.then(undefined, () => {}) // its rejection is nobody else's
        report(new errors.CONTEXT_FAILED('the option context returned a promise, but it must be synchronous; await what it needs in an onRequest hook and keep that on the request'))
      } else if (Array.isArray(given) || typeof given === 'boolean' || typeof given === 'function') {
        report(new errors.CONTEXT_FAILED(`the option context must return an object such as { targetingKey: 'alice' }, it returned a ${Array.isArray(given) ? 'list' : typeof given}`))
      } else {
        return toContext(given)
      }
    } catch (cause) {
      report(new errors.CONTEXT_FAILED('the option context threw', { cause })) // the cause's own words may be about one user
    }
    return nobody
  }
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Visible ASCII but comma and percent sign. A loop costs a third of what a regular expression does. */
function isPlain (text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code <= 0x20 || code >= 0x7f || code === 0x25 || code === 0x2c) return false
  }
  return text !== ''
}

/** Node joins a repeated header with ", ", or keeps the first. */
function mayBeRepeated (name: string, text: string): boolean {
  return text.includes(', ') || keptFirst.has(name)
}

function isRepeated ({ rawHeaders }: IncomingMessage, name: string, text: string): boolean {
  if (!mayBeRepeated(name, text)) return false
  let times = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const written = rawHeaders[i]!
    if (written.length === name.length && written.toLowerCase() === name) times++
  }
  return times > 1
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Node gives header bytes as latin1; read them as UTF-8 if they are that. */
function fromBytes (text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text
  if (/[\u0100-\uffff]/.test(text)) return text // not from a wire: inject() takes any text
  try {
    return utf8.decode(Buffer.from(text, 'latin1'))
  } catch {
    return text
  }
}

function decode (item: string): string {
  if (!item.includes('%')) return item.trim()
  try {
    return decodeURIComponent(item).trim()
  } catch {
    return item.trim()
  }
}
