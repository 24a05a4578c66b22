import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { EvaluationMessage, evaluations } from '../diagnostics.js'
import { errors } from '../errors.js'
import type { FlagEntry, Snapshot } from '../evaluation/snapshot.js'
import type { Subject } from '../evaluation/subject.js'
import type { EvaluationContext } from '../model/context.js'
import { toJson } from './answers.js'
import { countAttempts } from './attempts.js'
import { readBody, readQuery, settleContext, type Asking } from './asking.js'
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
interface KeyRoute { Params: { key: string } }

/** Evaluation for people, and for stacks without an OpenFeature SDK. An encapsulated plugin; it needs the flags plugin around it. */
export const evaluationRoutes: FastifyPluginAsync<EvaluationOptions> = async (app, { prefix, tokens, browserTokens, identity }) => {
  if (!app.hasDecorator('flags')) throw new errors.INVALID_OPTION('evaluationRoutes needs fastify-flags in the same scope, before it: await app.register(flags)')
  if (identity !== undefined && identity !== 'caller') throw new errors.INVALID_OPTION('evaluation.identity can only be "caller", which lets whoever asks say for whom; leave it out to take that from trusted headers, context(request) or callers with an evaluation token')
  const asksTokens = tokens !== undefined || browserTokens !== undefined
  const find = readTokens({ server: tokens, browser: browserTokens }, { server: 'evaluation.tokens', browser: 'evaluation.browserTokens' })
  const attempts = countAttempts()
  const scope = openScope(app, { prefix, keyed: ['/flags'], bodyLimit })

  function admit (request: FastifyRequest, reply: FastifyReply): Asker {
    if (!asksTokens) return undefined
    const { authorization } = request.headers
    const bearer = find(authorization)
    if (bearer !== undefined) {
      attempts.admit(request, reply, bearer)
      return bearer.grant
    }
    if (authorization !== undefined) attempts.fail(request, reply)
    reply.header('www-authenticate', `Bearer realm="fastify-flags"${authorization === undefined ? '' : ', error="invalid_token"'}`)
    throw new errors.UNAUTHORIZED(authorization === undefined ? 'Send "Authorization: Bearer <secret>" with an evaluation token of this server' : 'This server does not know the token in Authorization; it must be: Bearer <secret>')
  }

  function subjectOf (request: FastifyRequest, asking: Asking | undefined, asker: Asker): Subject {
    if (app.flags.status === 'NOT_READY') throw new errors.NOT_READY() // there is no caller's default to answer with
    const own = request.flags
    return asking === undefined ? own : new Other(own, settleContext(own.context, asking, identity === 'caller' || asker === 'server'), asking.environment)
  }

  function evaluate (request: FastifyRequest<KeyRoute>, reply: FastifyReply, asker: Asker, asking: Asking | undefined): FastifyReply {
    const { key } = request.params
    const subject = subjectOf(request, asking, asker)
    const entry = subject.snapshot.flag(key)
    if (entry === undefined || (asker === 'browser' && entry.document.public !== true)) throw new errors.FLAG_NOT_FOUND(JSON.stringify(key.slice(0, 100)))
    const outcome = entry.evaluate(subject)
    if (evaluations.hasSubscribers) evaluations.publish(new EvaluationMessage(subject, key, outcome.details))
    if (outcome.details.reason === 'ERROR') throw new errors.NOT_EVALUATED(key, outcome.details.errorMessage)
    return send(reply, toJson(key, outcome, asker === 'browser'))
  }

  scope.get<KeyRoute>('/flags/:key/evaluate', (request, reply) => evaluate(request, reply, admit(request, reply), readQuery(request)))

  scope.post<KeyRoute>('/flags/:key/evaluate', { onRequest: async (request, reply) => { admit(request, reply) } }, (request, reply) => // before the body is read
    evaluate(request, reply, admit(request, reply), readBody(request.body)))

  scope.get('/flags', (request, reply) => {
    const asker = admit(request, reply)
    const subject = subjectOf(request, readQuery(request), asker)
    let text = ''
    for (const entry of sorted(subject.snapshot)) {
      if (asker === 'browser' && entry.document.public !== true) continue
      const answer = toJson(entry.key, entry.evaluate(subject), asker === 'browser')
      text += text === '' ? answer : ',' + answer
    }
    return send(reply, `{"flags":[${text}]}`)
  })
}

/** The same flags at the same moment, for another context or environment. */
class Other implements Subject {
  readonly snapshot: Snapshot
  readonly environment: string

  constructor (readonly own: Subject, readonly context: EvaluationContext, environment = own.environment) {
    this.snapshot = own.snapshot
    this.environment = environment
  }

  get now (): number {
    return this.own.now
  }
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
