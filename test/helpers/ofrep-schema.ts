import Type, { type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'

/*
 * What OFREP 0.3 says of answers, with its two slips mended: `value` is any of its types (each typed value matches the schema of a
 * value left out as well), and DEFAULT is a reason. Stricter in one thing: null is no value.
 */

const Metadata = Type.Record(Type.String(), Type.Union([Type.Boolean(), Type.String(), Type.Number()]))
const Reason = Type.Enum(['STATIC', 'TARGETING_MATCH', 'SPLIT', 'DISABLED', 'UNKNOWN', 'DEFAULT'])
const Value = Type.Union([Type.Boolean(), Type.String(), Type.Number(), Type.Object({}), Type.Array(Type.Unknown())])

const Success = Type.Object({ key: Type.String(), reason: Reason, value: Type.Optional(Value), variant: Type.Optional(Type.String()), metadata: Type.Optional(Metadata) })
const failure = (codes: string[]) => Type.Object({ key: Type.String(), errorCode: Type.Enum(codes), errorDetails: Type.Optional(Type.String()), metadata: Type.Optional(Metadata) })
const codes = ['PARSE_ERROR', 'TARGETING_KEY_MISSING', 'INVALID_CONTEXT', 'GENERAL']
const Stream = Type.Object({ type: Type.String(), inactivityDelaySec: Type.Optional(Type.Integer({ minimum: 1 })) })
const EventStream = Type.Union([
  Type.Intersect([Stream, Type.Object({ url: Type.String({ format: 'uri' }), endpoint: Type.Optional(Type.Never()) })]),
  Type.Intersect([Stream, Type.Object({ endpoint: Type.Object({ origin: Type.Optional(Type.String({ format: 'uri' })), requestUri: Type.String({ pattern: '^/' }) }), url: Type.Optional(Type.Never()) })])
])
const Bulk = Type.Object({ flags: Type.Array(Type.Union([Success, failure([...codes, 'FLAG_NOT_FOUND'])])), metadata: Type.Optional(Metadata), eventStreams: Type.Optional(Type.Array(EventStream)) })
const ServerError = Type.Object({ errorDetails: Type.Optional(Type.String()) })
const SomeCode = Type.Object({ errorCode: Type.String(), errorDetails: Type.Optional(Type.String()) })

const one: Record<number, TSchema> = { 200: Success, 400: failure(codes), 404: failure(['FLAG_NOT_FOUND']), 500: Type.Intersect([ServerError, failure(codes)]), 503: ServerError }
const all: Record<number, TSchema> = { 200: Bulk, 400: SomeCode, 500: Type.Intersect([ServerError, SomeCode]), 503: ServerError }

const validators = new Map([one, all].map((schemas) => [schemas, new Map(Object.entries(schemas).map(([status, schema]) => [Number(status), Compile(schema)]))]))

/** What the protocol does not allow about an answer; undefined when it is one. `path` is the request's. */
export function faultOfAnswer (path: string, status: number, type: string | null | undefined, text: string): string | undefined {
  if (status === 401 || status === 403 || status === 429) return undefined // without a schema
  if (status === 304) return text === '' ? undefined : 'a 304 with a body'
  const validator = validators.get(/\/flags\/?(?:\?|$)/.test(path) ? all : one)!.get(status)
  if (validator === undefined) return `the protocol knows no answer ${status}`
  if (!/^application\/json\b/.test(type ?? '')) return `it is ${type ?? 'of no type'}, not JSON`
  const body: unknown = JSON.parse(text)
  if (validator.Check(body)) return undefined
  return `${status} ${text.slice(0, 300)}: ${JSON.stringify(validator.Errors(body).slice(0, 3))}`
}

const EventData = Compile(Type.Object({ type: Type.Literal('refetchEvaluation'), etag: Type.Optional(Type.String()), lastModified: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.String({ format: 'date-time' })])) }))

/** Whether the data of an event is one of the protocol's. */
export function isEventData (text: string): boolean {
  return EventData.Check(JSON.parse(text))
}
