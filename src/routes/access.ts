import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { errors } from '../errors.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Subject } from '../evaluation/subject.js'
import type { EvaluationContext } from '../model/context.js'
import type { Flag } from '../model/flag.js'
import { settleContext, type Asking } from './asking.js'
import { attemptsOf } from './attempts.js'
import { readTokens, type Bearer, type EvaluationTokens } from './tokens.js'

export interface AccessOptions {
  /** Secrets of servers that may ask, by name; with these or `browserTokens`, whoever has none is answered 401. */
  tokens?: EvaluationTokens
  /** Secrets that stand in front ends: only `public` flags, without cause and rule. */
  browserTokens?: EvaluationTokens
  /** `caller`: who is asking may stand in query or body without an evaluation token. */
  identity?: 'caller'
}

/** Whose token a request carries; undefined where none is asked for. */
export type Asker = Bearer<'server' | 'browser'> | undefined

export interface Access {
  /** Whoever holds a token; none where none is asked for. */
  readonly bearers: ReadonlyArray<NonNullable<Asker>>
  /** Who sends the request; its token is looked for once. Throws UNAUTHORIZED, or TOO_MANY_ATTEMPTS. */
  admit (request: FastifyRequest, reply: FastifyReply): Asker
  /** For routes that take a body: whoever may not ask is told so before it is read. */
  readonly beforeBody: Pick<RouteShorthandOptions, 'onRequest'>
  /** For whom and where to answer. Throws NOT_READY, or FORBIDDEN for an identity or an environment that is not theirs to name. */
  subjectOf (request: FastifyRequest, asking: Asking | undefined, asker: Asker): Subject
  /** Whether they may know of a flag. */
  sees (asker: Asker, flag: Pick<Flag, 'public'>): boolean
}

/** Who may ask: one answer for all routes that evaluate flags or take events about them. Throws INVALID_OPTION. */
export function openAccess (app: FastifyInstance, { tokens, browserTokens, identity }: AccessOptions): Access {
  if (identity !== undefined && identity !== 'caller') throw new errors.INVALID_OPTION('evaluation.identity can only be "caller", which lets whoever asks say for whom; leave it out to take that from trusted headers, context(request) or callers with an evaluation token')
  const asksTokens = tokens !== undefined || browserTokens !== undefined
  const find = readTokens({ server: tokens, browser: browserTokens }, { server: 'evaluation.tokens', browser: 'evaluation.browserTokens' }, ['server', 'browser'])
  const attempts = attemptsOf(app)
  const kAsker = Symbol('fastify-flags.asker')

  function admit (request: FastifyRequest & { [kAsker]?: Asker }, reply: FastifyReply): Asker {
    if (!asksTokens) return undefined
    return (request[kAsker] ??= identify(request, reply))
  }

  function identify (request: FastifyRequest, reply: FastifyReply): Asker {
    const { 'x-api-key': apiKey, authorization = typeof apiKey === 'string' ? `Bearer ${apiKey}` : undefined } = request.headers
    const found = find(authorization)
    if (found !== undefined) {
      attempts.admit(request, reply, found)
      return found
    }
    if (authorization !== undefined) attempts.fail(request, reply)
    reply.header('www-authenticate', `Bearer realm="fastify-flags"${authorization === undefined ? '' : ', error="invalid_token"'}`)
    throw new errors.UNAUTHORIZED(authorization === undefined ? 'Send "Authorization: Bearer <secret>" (or "X-API-Key: <secret>") with an evaluation token of this server' : 'This server does not know the token in Authorization; it must be: Bearer <secret>')
  }

  return {
    bearers: find.bearers,
    admit,
    beforeBody: asksTokens ? { onRequest: (request, reply, done) => { admit(request, reply); done() } } : {},
    subjectOf (request, asking, asker) {
      if (app.flags.status === 'NOT_READY') throw new errors.NOT_READY() // there is no caller's default to answer with
      const own = request.flags
      const environment = environmentOf(asker, asking?.environment) ?? own.environment
      if (asking === undefined && environment === own.environment) return own
      const context = asking === undefined ? own.context : settleContext(own.context, asking.context, identity === 'caller' || asker?.grant === 'server')
      return new Other(own, context, environment)
    },
    sees: (asker, flag) => asker?.grant !== 'browser' || flag.public === true
  }
}

/** The environment asked for, else the one a token is limited to. */
function environmentOf (asker: Asker, asked: string | undefined): string | undefined {
  const only = asker?.environment
  if (asked !== undefined && only !== undefined && asked !== only) throw new errors.FORBIDDEN(`This token is for the environment ${only} alone; leave out the environment, or use a token that may ask for ${asked}`)
  return asked ?? only
}

/** The same flags at the same moment, for another context or environment. */
class Other implements Subject {
  readonly snapshot: Snapshot

  constructor (readonly own: Subject, readonly context: EvaluationContext, readonly environment: string) {
    this.snapshot = own.snapshot
  }

  get now (): number {
    return this.own.now
  }
}
