import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { errors } from '../errors.js'
import type { FlagEntry, Snapshot } from '../evaluation/snapshot.js'
import type { Subject } from '../evaluation/subject.js'
import { answer } from './answers.js'
import { Question, readBody, readQuery, settleContext, type Asking } from './asking.js'
import { openScope } from './scope.js'
import { readTokens, type Tokens } from './tokens.js'

export interface EvaluationOptions {
  /** Where the routes stand, such as `/feature`; left out, at the root: `/flags/:key/evaluate`. */
  prefix?: string
  /** Secrets of servers that may ask, by name; with these or `browserTokens`, whoever has none is answered 401. */
  tokens?: Tokens
  /** Secrets that stand in front ends: only `public` flags, without cause and rule. */
  browserTokens?: Tokens
  /** `caller`: who is asking may stand in query or body without an evaluation token. */
  identity?: 'caller'
}

type Asker = 'server' | 'browser' | undefined

const bodyLimit = 64 * 1024
const KeyParams = Type.Object({ key: Type.String() })

/** Evaluation for people, and for stacks without an OpenFeature SDK. An encapsulated plugin; it needs the flags plugin around it. */
export const evaluationRoutes: FastifyPluginAsync<EvaluationOptions> = async (app, { prefix, tokens, browserTokens, identity }) => {
  const asksTokens = tokens !== undefined || browserTokens !== undefined
  const find = readTokens({ server: tokens, browser: browserTokens }, { server: 'evaluation.tokens', browser: 'evaluation.browserTokens' })
  const scope = openScope(app, { prefix, keyed: ['/flags'], bodyLimit })

  function admit (request: FastifyRequest): Asker {
    if (!asksTokens) return undefined
    const bearer = find(request.headers.authorization)
    if (bearer === undefined) throw new errors.UNAUTHORIZED('Send "Authorization: Bearer <secret>" with an evaluation token of this server')
    return bearer.grant
  }

  function subjectOf (request: FastifyRequest, asking: Asking | undefined, asker: Asker): Subject {
    const own = request.flags
    if (asking === undefined) return own
    return {
      snapshot: own.snapshot,
      environment: asking.environment ?? own.environment,
      context: settleContext(own.context, asking, identity === 'caller' || asker === 'server'),
      get now () { return own.now }
    }
  }

  function evaluate (request: FastifyRequest<{ Params: { key: string } }>, reply: FastifyReply, asker: Asker, asking: Asking | undefined): FastifyReply {
    const { key } = request.params
    const subject = subjectOf(request, asking, asker)
    const entry = subject.snapshot.flag(key)
    if (entry === undefined || (asker === 'browser' && entry.document.public !== true)) throw new errors.FLAG_NOT_FOUND(key)
    return send(reply, answer(entry, subject, asker === 'browser'))
  }

  scope.get('/flags/:key/evaluate', { schema: { params: KeyParams } }, (request, reply) => evaluate(request, reply, admit(request), readQuery(request)))

  scope.post('/flags/:key/evaluate', { onRequest: async (request) => { admit(request) }, schema: { params: KeyParams, body: Type.Optional(Question) } }, (request, reply) =>
    evaluate(request, reply, admit(request), readBody(request.body)))

  scope.get('/flags', (request, reply) => {
    const asker = admit(request)
    const subject = subjectOf(request, readQuery(request), asker)
    let text = ''
    for (const entry of sorted(subject.snapshot)) {
      if (asker === 'browser' && entry.document.public !== true) continue
      text += text === '' ? answer(entry, subject, asker === 'browser') : ',' + answer(entry, subject, asker === 'browser')
    }
    return send(reply, `{"flags":[${text}]}`)
  })
}

function send (reply: FastifyReply, text: string): FastifyReply {
  reply.header('cache-control', 'private, no-cache')
  reply.type('application/json; charset=utf-8')
  return reply.send(text)
}

const order = new WeakMap<Snapshot, FlagEntry[]>()

/** A snapshot's flags by key. A snapshot never changes, so this is done once for each that is listed. */
function sorted (snapshot: Snapshot): FlagEntry[] {
  let entries = order.get(snapshot)
  if (entries === undefined) {
    entries = [...snapshot.flags()].sort((a, b) => a.key < b.key ? -1 : 1)
    order.set(snapshot, entries)
  }
  return entries
}
