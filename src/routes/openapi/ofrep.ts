import Type from 'typebox'
import { Key } from '../../model/key.js'
import { Context } from './asking.js'
import type { Answer, Body, Operations } from './operation.js'

const metadata = Type.Record(Type.String(), Type.Union([Type.Boolean(), Type.String(), Type.Number()]), { description: 'What the flag carries, with `cause`, `rule`, `environment` and `version`; cause and rule are not told to browser tokens.' })

const OfrepEvaluation = Type.Object({
  key: Key,
  value: Type.Unknown({ description: 'The value of the variant: any JSON but null.' }),
  reason: Type.Enum(['STATIC', 'DEFAULT', 'TARGETING_MATCH', 'SPLIT', 'DISABLED'], { description: 'Why, in OpenFeature\'s words.' }),
  variant: Type.Optional(Key),
  metadata: Type.Optional(metadata)
}, { description: 'What a flag answers for somebody.' })

const OfrepFailure = Type.Object({
  key: Type.Optional(Type.String({ description: 'The flag asked for, where one was.' })),
  errorCode: Type.Enum(['PARSE_ERROR', 'INVALID_CONTEXT', 'FLAG_NOT_FOUND', 'PROVIDER_NOT_READY', 'GENERAL'], { description: 'In OpenFeature\'s words.' }),
  errorDetails: Type.Optional(Type.String({ description: 'What to do about it.' }))
}, { description: 'An error, as OpenFeature\'s providers read it.' })

const OfrepRequest = Type.Object({ context: Type.Union([Context, Type.Null()]) }, { description: 'Who asks. Without a targeting key nobody in particular does.' })

const body: Body = { schema: OfrepRequest, examples: { 'a user': { context: { targetingKey: 'user_123', groups: ['beta'], plan: 'pro' } }, nobody: { context: {} } } }
const example = { key: 'beta_features', value: true, reason: 'TARGETING_MATCH', variant: 'on', metadata: { cause: 'target-user', environment: 'production', version: 3 } }

function failure (description: string, errorCode: string, errorDetails: string, headers?: Record<string, string>): Answer {
  return { description, schema: OfrepFailure, example: { errorCode, errorDetails }, headers }
}

const unauthorized = failure('No token, or one that nobody knows.', 'GENERAL', 'This server does not know the token in Authorization; it must be: Bearer <secret>', { 'WWW-Authenticate': 'Bearer' })
const tooMany = failure('Too many unknown tokens came from this address.', 'GENERAL', 'Too many unknown tokens came from this address; try again in 6 seconds', { 'Retry-After': 'Seconds until the next try is heard.' })

const failures: Record<number, Answer> = {
  400: failure('The body or its content type cannot be read, or the context has no such form.', 'INVALID_CONTEXT', 'The context is not valid: context.targetingKey must be a text of at most 1,000 characters, in quotes'),
  401: unauthorized,
  403: failure('Who asks is not theirs to say, or this environment not theirs to ask for.', 'GENERAL', 'This token is for the environment staging alone'),
  404: failure('There is no such flag, or not for this token; or no such route.', 'FLAG_NOT_FOUND', 'There is no flag "beta_feature"'),
  429: tooMany,
  500: failure('The flag cannot be evaluated, or something went wrong here.', 'GENERAL', 'The flag cannot be evaluated: the flag has no variant compact'),
  503: failure('No flags have been loaded yet.', 'PROVIDER_NOT_READY', 'No flags have been loaded yet; try again', { 'Retry-After': 'Seconds.' })
}

const etag = 'A hash of all that the answer is made of: documents, stages begun, token and context. Send it as `If-None-Match`.'

export const ofrepOperations: Operations = {
  tag: { name: 'OFREP', description: 'The OpenFeature Remote Evaluation Protocol 0.3: give OpenFeature\'s own OFREP provider the URL of this server.' },
  access: 'evaluation',
  ourErrors: false,
  schemas: { OfrepEvaluation, OfrepFailure, OfrepRequest },
  routes: {
    'POST /ofrep/v1/evaluate/flags/:key': {
      summary: 'Evaluate a flag',
      body,
      answers: { 200: { description: 'What the flag answers, and why.', schema: OfrepEvaluation, example, headers: { 'Cache-Control': '`private, no-cache`: an answer is for whoever asked.' } }, ...failures }
    },
    'POST /ofrep/v1/evaluate/flags': {
      summary: 'Evaluate all flags',
      description: 'In the order of their keys; with a browser token the `public` ones. It counts as no evaluation in the metrics.',
      query: {
        flagConfigEtag: { description: 'What an event named: this server answers once it knows of that change.', example: '4711-J34KKAICJi_ByjKl' },
        flagConfigLastModified: { description: 'What an event told; not looked at.' }
      },
      headers: { 'If-None-Match': { description: 'The ETag of an earlier answer: alone, in a list, weak, or `*`.' } },
      body,
      answers: {
        200: {
          description: 'What each flag answers, and where to hear of changes.',
          schema: Type.Object({
            flags: Type.Array(Type.Union([OfrepEvaluation, OfrepFailure])),
            eventStreams: Type.Optional(Type.Array(Type.Object({ type: Type.Literal('sse'), endpoint: Type.Object({ origin: Type.Optional(Type.String()), requestUri: Type.String() }), inactivityDelaySec: Type.Integer() })))
          }),
          example: { flags: [example], eventStreams: [{ type: 'sse', endpoint: { requestUri: '/ofrep/v1/events?since=4711-J34KKAICJi_ByjKl' }, inactivityDelaySec: 120 }] },
          headers: { ETag: etag }
        },
        304: { description: 'The answer that If-None-Match names is still right.', headers: { ETag: etag } },
        ...failures
      }
    },
    'GET /ofrep/v1/events': {
      summary: 'Hear of changes',
      description: 'Server-sent events, each of which says that answers may have changed. Its URL stands in the answer for all flags.',
      query: {
        since: { description: 'What the answer was made of that named this URL; what changed since is told at once.' },
        token: { description: 'Stands in for a token in Authorization, which an EventSource cannot send; for one to two hours.' }
      },
      headers: { 'Last-Event-ID': { description: 'The last event that was seen.' } },
      answers: {
        200: { description: 'A stream that stays open.', type: 'text/event-stream', schema: { type: 'string' }, example: 'id: 4711-J34KKAICJi_ByjKl\ndata: {"type":"refetchEvaluation","etag":"4711-J34KKAICJi_ByjKl","lastModified":1795166024}\n\n' },
        401: unauthorized,
        429: tooMany,
        503: failure('As many streams are open as this server takes.', 'GENERAL', 'This server holds as many event streams as it takes (10000); ask again from time to time, or later for a stream', { 'Retry-After': 'Seconds.' })
      }
    }
  }
}
