import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.js'

/** Whose pages may ask: origins such as `https://shop.example`, or true for all. */
export type Cors = true | readonly string[]

const allowed = {
  'access-control-allow-methods': 'GET, POST',
  'access-control-allow-headers': 'content-type, if-none-match, authorization, x-api-key, last-event-id',
  'access-control-max-age': '600'
}

/**
 * Lets pages of other origins use a scope's routes: an onRequest hook, which must come before those that ask for tokens, and an answer
 * to preflight requests for each of `paths`. Nothing is added for other paths, so that it lives beside a host's own @fastify/cors.
 */
export function allowOrigins (scope: FastifyInstance, cors: Cors | undefined, paths: readonly string[]): void {
  if (cors === undefined) return
  checkCors(cors)
  const origins = cors === true ? undefined : new Set(cors)

  scope.addHook('onRequest', (request, reply, done) => {
    if (origins !== undefined) reply.header('vary', varying(reply.getHeader('vary')))
    const { origin } = request.headers
    if (origin !== undefined && (origins === undefined || origins.has(origin))) {
      reply.header('access-control-allow-origin', origins === undefined ? '*' : origin)
      reply.header('access-control-expose-headers', 'ETag, Retry-After')
    }
    done()
  })
  const preflight = (request: FastifyRequest, reply: FastifyReply) => reply.headers(allowed).code(204).send()
  for (const path of paths) scope.options(path, preflight)
}

function varying (before: ReturnType<FastifyReply['getHeader']>): string {
  return before === undefined ? 'Origin' : /\borigin\b|\*/i.test(String(before)) ? String(before) : `${String(before)}, Origin`
}

export function checkCors (cors: unknown, option = 'evaluation.cors'): asserts cors is Cors {
  if (cors === true) return
  if (!Array.isArray(cors) || cors.length === 0) throw new errors.INVALID_OPTION(`${option} must be true, for pages of all origins, or a list of origins such as ["https://shop.example"]`)
  for (const origin of cors) {
    if (typeof origin === 'string' && URL.canParse(origin) && new URL(origin).origin === origin) continue
    throw new errors.INVALID_OPTION(`${option} holds ${JSON.stringify(origin)}; an origin is scheme, host and port alone, such as "https://shop.example" or "http://localhost:5173"`)
  }
}
