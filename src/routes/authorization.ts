import type { FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import type { Attempts } from './attempts.js'
import { readTokens, type Tokens } from './tokens.js'

/** The actor's name, which stands in the history; nothing for whoever is not known, false for whoever may not. */
export type Authorize = (request: FastifyRequest) => string | false | null | undefined | Promise<string | false | null | undefined>

export interface AuthorizationOptions {
  /** Secrets to send as `Authorization: Bearer <secret>`, by actor. */
  tokens?: Tokens
  /** Secrets of those who may only read and explain. */
  readTokens?: Tokens
  /** Asked where no token is sent that is known; runs after the app's own onRequest hooks. */
  authorize?: Authorize
}

export type Right = 'read' | 'write'

/** Gives an onRequest hook for each right, and who a request came from. Throws INVALID_OPTION when the options let nobody in. */
export function authorization ({ tokens, readTokens: readerTokens, authorize }: AuthorizationOptions, attempts: Attempts) {
  const asksTokens = [tokens, readerTokens].some((list) => list !== undefined && Object.keys(list).length > 0)
  if (authorize !== undefined && typeof authorize !== 'function') throw new errors.INVALID_OPTION('admin.authorize must be a function that takes the request and returns the name of who sends it, or undefined')
  if (!asksTokens && authorize === undefined) throw new errors.INVALID_OPTION('The admin routes need to know who may use them; write admin: { tokens: { alice: process.env.ADMIN_TOKEN } } with a secret of your own, or admin: { authorize: (request) => request.user?.name }')
  const find = readTokens({ write: tokens, read: readerTokens }, { write: 'admin.tokens', read: 'admin.readTokens' })
  const actors = new WeakMap<FastifyRequest, string>()

  async function identify (request: FastifyRequest, reply: FastifyReply): Promise<{ actor: string, grant: Right }> {
    const bearer = find(request.headers.authorization)
    if (bearer !== undefined) {
      attempts.admit(request, reply, bearer)
      return bearer
    }
    const sent = request.headers.authorization !== undefined
    if (authorize !== undefined) {
      try {
        return { actor: await ask(authorize, request), grant: 'write' }
      } catch (error) {
        if (sent && asksTokens) attempts.fail(request, reply) // without tokens of ours there is nothing to guess here
        throw error
      }
    }
    if (sent) attempts.fail(request, reply)
    reply.header('www-authenticate', `Bearer realm="fastify-flags"${sent ? ', error="invalid_token"' : ''}`)
    throw new errors.UNAUTHORIZED(sent ? 'This server does not know the token in Authorization; it must be: Bearer <secret>' : 'Send "Authorization: Bearer <secret>" with an admin token of this server')
  }

  return {
    require: (right: Right) => async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      const { actor, grant } = await identify(request, reply)
      if (right === 'write' && grant === 'read') throw new errors.FORBIDDEN(`The token of ${actor} may only read; a change needs one of admin.tokens`)
      actors.set(request, actor)
    },
    actorOf: (request: FastifyRequest): string | undefined => actors.get(request)
  }
}

/** What `authorize` throws is a refusal: its own 403, any other 4xx as 401. What it did not foresee is ours to log. */
async function ask (authorize: Authorize, request: FastifyRequest): Promise<string> {
  let actor: unknown
  try {
    actor = await authorize(request)
  } catch (error) {
    const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined
    if (typeof status === 'number' && status >= 500) throw error
    if (status === 403) throw new errors.FORBIDDEN((error as Error).message)
    if (status === undefined) request.log.warn({ err: error }, 'the option admin.authorize failed; the request is refused')
    throw new errors.UNAUTHORIZED('This server does not know who sends this request')
  }
  if (actor === false) throw new errors.FORBIDDEN('Whoever sends this request may not use the admin routes')
  if (actor === undefined || actor === null || actor === '') throw new errors.UNAUTHORIZED('This server does not know who sends this request')
  if (typeof actor !== 'string') throw new errors.INVALID_OPTION('admin.authorize must return the name of who sends the request, as a text')
  return actor.slice(0, 200)
}
