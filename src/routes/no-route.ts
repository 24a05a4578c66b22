import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { errors, type FlagsError } from '../errors.js'

/**
 * What to answer a request that none of these routes takes: that its path has none, else which methods that takes, in `Allow`
 * too. Undefined for OPTIONS, which is told no more than that header.
 */
export function refusalOf (routes: readonly RouteOptions[], { method, url }: FastifyRequest, reply: FastifyReply, hint = ''): FlagsError | undefined {
  const path = pathOf(url)
  const methods = methodsAt(routes, path).join(', ')
  if (methods === '') return new errors.ROUTE_NOT_FOUND(`${method} ${path}${hint}`) as FlagsError
  reply.header('allow', methods)
  return method === 'OPTIONS' ? undefined : new errors.METHOD_NOT_ALLOWED(method, methods) as FlagsError
}

/** The methods of those routes whose pattern a path fits. */
function methodsAt (routes: readonly RouteOptions[], path: string): string[] {
  const parts = path.split('/')
  const fitting = routes.filter(({ url }) => {
    const pattern = url.split('/')
    return pattern.length === parts.length && pattern.every((part, i) => part.startsWith(':') ? parts[i] !== '' : part === parts[i] && part !== '*')
  })
  return [...new Set(fitting.flatMap(({ method }) => method))].sort()
}

/** A URL without its query. */
export function pathOf (url: string): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}
