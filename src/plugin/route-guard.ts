import type { FastifyInstance, FastifyReply, FastifyRequest, preHandlerHookHandler, RouteHandlerMethod, RouteOptions } from 'fastify'
import { errors } from '../errors.js'
import type { FlagKey } from '../flag-types.js'
import { isKey } from '../model/key.js'

/** A route that is there while a flag is on: `config: { flag: 'new-checkout' }`. */
export interface RouteFlag {
  key: FlagKey
  /** What the route answers with while the flag is off: 400 to 599, or with a handler any; default: as if the route were not there. */
  statusCode?: number
  /** Answers while the flag is off. */
  handler?: RouteHandlerMethod
}

const guarded = Symbol('fastify-flags.guarded')

/** An onRoute hook: puts a guard behind a route's own preHandlers, so that authentication has run. Throws INVALID_OPTION. */
export function guardRoute (this: FastifyInstance, route: RouteOptions): void {
  const config: object & { flag?: unknown } = route.config ?? {}
  // Guarded already: by a registration further out. One guard does, request.flags is the nearest registration's anyway.
  if (config.flag === undefined || guarded in config) return
  const guard = makeGuard(checkRouteFlag(config.flag, `${String(route.method)} ${route.url}`))
  route.preHandler = route.preHandler === undefined ? guard : [route.preHandler, guard].flat()
  route.config = Object.assign({}, route.config, { [guarded]: true })
}

/**
 * A preHandler hook for a scope that had routes before this plugin was loaded; onRoute has not seen them. One that has
 * a flag fails, rather than be open whatever the flag says.
 */
export const refuseUnguarded: preHandlerHookHandler = (request, reply, done) => {
  const { config, method, url } = request.routeOptions
  if (config.flag === undefined || guarded in config) return done()
  done(new errors.INVALID_OPTION(`fastify-flags: ${String(method)} ${url} has config.flag but was added before fastify-flags was loaded, so nothing guards it; await app.register(flags) before adding routes`))
}

function makeGuard ({ key, statusCode, handler }: RouteFlag): preHandlerHookHandler {
  return function guardFlag (this: FastifyInstance, request, reply, done) {
    if (request.flags.isEnabled(key)) return done()
    if (handler !== undefined) answer(this, handler, request, statusCode === undefined ? reply : reply.code(statusCode))
    else if (statusCode === undefined) reply.callNotFound()
    else reply.send(Object.assign(new errors.FLAG_OFF(), { statusCode }))
  }
}

/** Calls a handler as Fastify does. */
function answer (app: FastifyInstance, handler: RouteHandlerMethod, request: FastifyRequest, reply: FastifyReply): void {
  const send = (payload: unknown) => {
    if (payload !== undefined && !reply.sent) reply.send(payload)
  }
  try {
    const result: unknown = handler.call(app, request, reply)
    if (result === reply) return // which is thenable too
    if (result instanceof Promise) result.then(send, (error) => { reply.send(error) })
    else send(result)
  } catch (error) {
    reply.send(error)
  }
}

function checkRouteFlag (given: unknown, route: string): RouteFlag {
  const refuse = (sentence: string): never => { throw new errors.INVALID_OPTION(`fastify-flags: config.flag of ${route} ${sentence}`) }
  if (typeof given === 'string') return isKey(given) ? { key: given as FlagKey } : refuse(`is "${given}", which cannot be the key of a flag`)
  if (typeof given !== 'object' || given === null) return refuse('must be the key of a flag, or { key, statusCode?, handler? }')
  const { key, statusCode, handler, ...others } = given as Record<string, unknown>
  if (!isKey(key)) return refuse(`needs a key, such as { key: "new-checkout" }${key === undefined ? '' : `; ${JSON.stringify(key)} cannot be one`}`)
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) return refuse(`has ${unknown}; there are key, statusCode and handler`)
  if (handler !== undefined && typeof handler !== 'function') return refuse('has a handler that is no function')
  const least = handler === undefined ? 400 : 200
  if (statusCode !== undefined && !(Number.isInteger(statusCode) && (statusCode as number) >= least && (statusCode as number) <= 599)) return refuse(`has a statusCode that is not a number from ${least} to 599`)
  return { key: key as FlagKey, statusCode: statusCode as number | undefined, handler: handler as RouteHandlerMethod | undefined }
}
