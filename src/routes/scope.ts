import { isUtf8 } from 'node:buffer'
import { STATUS_CODES } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, FastifyTypeProvider, RawServerBase, RouteHandlerMethod, RouteOptions } from 'fastify'
import Type, { type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { errors, isFlagsError, type ErrorDetail, type FlagsError } from '../errors.js'
import { faultsOf } from '../model/faults.js'
import { parseJson } from '../model/json.js'
import { readBytes } from './body.js'
import { pathOf, refusalOf } from './no-route.js'
import { describeRoute, type Operations } from './openapi/operation.js'

/** A document of 1 MB and what a request wraps around it, in bytes. */
export const documentBodyLimit = 1024 * 1024 + 64 * 1024

/** What a body or a parameter is after its route's TypeBox schema has passed it. */
export interface SchemaTypes extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown
  serializer: this['schema'] extends TSchema ? Static<this['schema']> : unknown
}

export interface ScopeOptions {
  /** The prefix this very plugin was registered with. With one, the scope answers its own 404. */
  prefix?: string
  /** A path below which no other routes stand: what has none there is refused here, unread. */
  owned?: string
  /** Paths below which keys stand, such as `/flags`: what is too long for the host's router gets our answer there, not its 414. */
  keyed?: string[]
  /** Bytes of a request's body, unless its route says otherwise. */
  bodyLimit?: number
  /** Whether a host's OpenAPI shows the routes. */
  visible?: boolean
  /** What OpenAPI documents say of them. */
  operations?: Operations
  /** What an error is answered with, where it is not its own status and `{ statusCode, code, error, message, details? }`. */
  present?: (error: FlagsError, request: FastifyRequest, reply: FastifyReply) => { statusCode: number, body: object }
  /** Reads a body's text, where that is not to be as strict as `parseJson`. Throws INVALID_JSON. */
  parse?: (text: string) => unknown
}

/**
 * Makes an encapsulated plugin's instance a scope in which nothing of the host's touches what our routes read and answer:
 * not its Ajv options, compilers, parsers, serializers, error handler or 404. Its hooks run as everywhere, so that its
 * authentication, rate limits and CORS hold here too. Handlers return any JSON value; routes hold TypeBox schemas.
 */
export function openScope (app: FastifyInstance, { prefix, owned, keyed = [], bodyLimit = documentBodyLimit, visible = false, operations, present = problem, parse = parseStrictly }: ScopeOptions = {}) {
  app.setValidatorCompiler(({ schema, httpPart = 'request' }) => validatorOf(schema as TSchema, httpPart))
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))

  app.removeAllContentTypeParsers()
  app.addContentTypeParser(['application/json', 'application/merge-patch+json'], { bodyLimit }, (request: FastifyRequest, payload, done) => {
    readBytes(request, payload, (error, bytes) => {
      let value: unknown
      try {
        if (error === null) value = readBody(request, bytes, parse)
      } catch (thrown) {
        error = thrown as FlagsError
      }
      done(error, value)
    })
  })

  app.setErrorHandler((thrown, request, reply) => {
    const { statusCode, body } = present(explain(thrown, request), request, reply)
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store') // caches may keep a 404 of which nothing is said
    return reply.code(statusCode).type(jsonType).send(JSON.stringify(body))
  })
  const routes: RouteOptions[] = []
  const refuse = async (request: FastifyRequest, reply: FastifyReply) => {
    const refusal = refusalOf(routes, request, reply)
    if (refusal !== undefined) throw refusal
    return reply.code(204).send()
  }
  if (prefix !== undefined && prefix !== '' && claim(app, app.prefix)) app.setNotFoundHandler(refuse)

  // For what has no route. Routes get the serializer in a way that costs less: Fastify checks each logger that another factory makes.
  const makeLogger = app.childLoggerFactory
  app.setChildLoggerFactory(function (logger, bindings, options, raw) {
    return makeLogger.call(this, logger, bindings, { ...options, serializers: { ...options.serializers, req: describe } }, raw)
  })

  app.addHook('onRoute', (route) => {
    routes.push(route)
    const description = operations && describeRoute(app, route, operations)
    const shown = visible && (operations === undefined || description !== undefined)
    const schema: HidingSchema = { hide: !shown, ...shown && description, ...route.schema }
    route.schema = schema
    route.bodyLimit ??= bodyLimit
    route.childLoggerFactory ??= makeLogger
    route.logSerializers = Object.assign(Object.create(route.logSerializers ?? null), { req: describe })
    route.handler = answerInJson(route.handler)
  })

  if (owned !== undefined) {
    // But for OPTIONS, which a later hook of the host's may answer: its CORS.
    const unread = async (request: FastifyRequest, reply: FastifyReply) => request.method === 'OPTIONS' ? undefined : await refuse(request, reply)
    app.all(`${owned}/*`, { exposeHeadRoute: false, onRequest: unread }, refuse)
  }

  for (const path of keyed) {
    const url = `${path}/*`
    if (app.hasRoute({ method: 'GET', url: app.prefix + url })) continue // two scopes may share a path
    const schema: HidingSchema = { hide: true }
    app.all(url, { exposeHeadRoute: false, schema }, (request: FastifyRequest, reply: FastifyReply) => {
      if (pathOf(request.url).split('/').some((part) => lengthOf(part) > 100)) throw new errors.INVALID_REQUEST('A part of the path is longer than the 100 characters that a key may have')
      reply.callNotFound()
    })
  }
  return app.withTypeProvider<SchemaTypes>()
}

/** What @fastify/swagger understands. */
type HidingSchema = FastifySchema & { hide?: boolean }

const jsonType = 'application/json; charset=utf-8'

/** A string with its type set passes by whatever a host put between a handler and the wire: serializers, preSerialization hooks. */
function answerInJson (handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    const answer: unknown = handler.call(this, request, reply)
    if (answer === reply) return answer
    return answer instanceof Promise ? answer.then((value) => serialize(reply, value)) : serialize(reply, answer)
  }
}

function serialize (reply: FastifyReply, value: unknown): unknown {
  if (value === undefined || reply.sent || typeof value === 'string' || Buffer.isBuffer(value)) return value
  if (typeof value === 'object' && value !== null && 'pipe' in value && typeof value.pipe === 'function') return value
  reply.type(jsonType)
  return JSON.stringify(value)
}

function validatorOf (schema: TSchema, part: string) {
  let validator: { Check (value: unknown): boolean } | undefined // compiled when it is first asked, for the start's sake
  const optional = Type.IsOptional(schema)
  return (value: unknown) => {
    validator ??= Compile(schema)
    if (validator.Check(value)) return true
    const given = value ?? undefined // Fastify gives null for a body that is not there
    if (optional && given === undefined) return { value: undefined }
    return { error: invalid(part, faultsOf(schema, given).map(({ path, message }) => ({ path, message }))) }
  }
}

/** INVALID_REQUEST for a part of a request that its schema refuses. */
export function invalid (part: string, details: ErrorDetail[]): FlagsError {
  return Object.assign(new errors.INVALID_REQUEST(`The ${part} is not valid: ${sentence(details, 'it')}`), { statusCode: 400, details })
}

/** `whole`: what the sentence is about where that is no part. */
function sentence ([first, ...more]: ErrorDetail[], whole = ''): string {
  if (first === undefined) return 'see details'
  return `${first.path || whole} ${first.message}`.trim() + (more.length === 0 ? '' : `, and ${more.length} more`)
}

/** An empty body is no body: `curl -X POST -H 'content-type: application/json'` sends one. */
function readBody (request: FastifyRequest, bytes: Buffer, parse: (text: string) => unknown): unknown {
  if (request.mediaType === 'application/merge-patch+json' && request.method !== 'PATCH') throw new errors.UNSUPPORTED_MEDIA_TYPE('a merge patch, which only PATCH takes')
  if (bytes.length === 0) return undefined
  const { 'content-encoding': encoding = 'identity' } = request.headers
  if (encoding.toLowerCase() !== 'identity') throw new errors.UNSUPPORTED_MEDIA_TYPE(`a body with Content-Encoding: ${encoding.slice(0, 100)}`)
  const text = bytes.toString()
  if (text.includes('\uFFFD') && !isUtf8(bytes)) throw new errors.INVALID_JSON('it is not UTF-8')
  return parse(text)
}

function parseStrictly (text: string): unknown {
  const parsed = parseJson(text)
  if ('value' in parsed) return parsed.value
  const { details } = parsed
  throw Object.assign(new errors.INVALID_JSON(sentence(details)), { details })
}

/** Any error as one of ours. What nobody foresaw is logged and answered without a word of it. */
function explain (thrown: unknown, request: FastifyRequest): FlagsError {
  if (isFlagsError(thrown) && (thrown.statusCode < 500 || thrown.statusCode === 503)) return thrown
  const { code, statusCode, message } = thrown instanceof Error ? thrown as Partial<FlagsError> : {}
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new errors.BODY_TOO_LARGE(request.routeOptions.bodyLimit) as FlagsError
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return new errors.UNSUPPORTED_MEDIA_TYPE(request.headers['content-type'] ?? 'a body without a content type') as FlagsError
  if (statusCode !== undefined && message !== undefined && ((statusCode >= 400 && statusCode < 500) || statusCode === 503)) {
    return Object.assign(new Error(message), { statusCode, code: code ?? 'FST_FLAGS_REFUSED' }) // by a hook of the host: its rate limit, its authentication
  }
  request.log.error({ err: thrown }, 'a flags route failed')
  return new errors.INTERNAL() as FlagsError
}

function problem ({ statusCode, code, message, details }: FlagsError): { statusCode: number, body: object } {
  const body = { statusCode, code, error: STATUS_CODES[statusCode] ?? 'Error', message: shortened(message), details: details?.map(({ path, message }) => ({ path: shortened(path), message: shortened(message) })) }
  return { statusCode, body }
}

/** Errors quote what was sent: a thousand faults in a field with a long name must not make an answer of gigabytes. */
function shortened (text: string): string {
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text
}

/** The request as it is logged: like Fastify's own, without the query, which may name users. */
function describe (request: FastifyRequest): object {
  return { method: request.method, url: pathOf(request.url), host: request.host, remoteAddress: request.ip, remotePort: request.socket?.remotePort }
}

function lengthOf (part: string): number {
  try {
    return decodeURIComponent(part).length
  } catch {
    return part.length
  }
}

const claimed = new WeakMap<RawServerBase, Set<string>>()

/** Whether this prefix has no 404 of ours yet: Fastify takes one for a prefix, and route groups may share theirs. */
function claim (app: FastifyInstance, prefix: string): boolean {
  let prefixes = claimed.get(app.server)
  if (prefixes === undefined) claimed.set(app.server, prefixes = new Set())
  if (prefixes.has(prefix)) return false
  prefixes.add(prefix)
  return true
}
