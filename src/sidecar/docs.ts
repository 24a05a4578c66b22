import type { StaticDocumentSpec } from '@fastify/swagger'
import Fastify, { type FastifyInstance, type RouteHandler, type RouteOptions } from 'fastify'
import { errors, type FlagsError } from '../errors.js'
import { openapiDocument } from '../routes/openapi/document.js'
import { serverOperations } from '../routes/openapi/server.js'
import { pathOf } from '../routes/no-route.js'
import { openScope } from '../routes/scope.js'
import { version } from './help.js'

/** Swagger UI draws itself with inline styles; everything else comes from here. */
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Every route registered from here on. */
export function listRoutes (app: FastifyInstance): RouteOptions[] {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => { routes.push(route) })
  return routes
}

/** `GET /openapi.json`, and `/docs` to read and try it; of the routes there are by now. Both are made when they are first asked for: few starts need them. */
export async function addDocs (app: FastifyInstance, routes: RouteOptions[], { open, url }: { open: boolean, url?: string }): Promise<void> {
  let text: string | undefined
  const document = () => openapiDocument(routes, { version: version(), url, open })
  await app.register(async (app) => {
    openScope(app, { operations: serverOperations }).get('/openapi.json', (request, reply) => reply.type('application/json; charset=utf-8').send(text ??= JSON.stringify(document())))
  })
  let reader: Promise<FastifyInstance> | undefined
  const show: RouteHandler = async (request, reply) => {
    const { routing } = await (reader ??= openReader(document(), url))
    reply.header('referrer-policy', 'no-referrer').header('x-frame-options', 'DENY')
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value)
    reply.hijack()
    routing(request.raw, reply.raw)
  }
  for (const path of ['/docs', '/docs/*']) app.get(path, { schema: { hide: true } }, show)
  app.addHook('onClose', async () => { await (await reader)?.close() })
}

/** An app of its own, which never listens. */
async function openReader (document: object, url: string | undefined): Promise<FastifyInstance> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([import('@fastify/swagger'), import('@fastify/swagger-ui')])
  const app = Fastify()
  app.setNotFoundHandler(({ method, url }, reply) => {
    const { statusCode, code, message } = new errors.ROUTE_NOT_FOUND(`${method} ${pathOf(url)}`) as FlagsError
    reply.code(statusCode).send({ statusCode, code, error: 'Not Found', message })
  })
  await app.register(swagger, { mode: 'static', specification: { document: document as StaticDocumentSpec['document'] } }) // its type knows no 3.1
  await app.register(swaggerUi, { routePrefix: '/docs', indexPrefix: url === undefined ? '' : new URL(url).pathname.replace(/\/$/, ''), staticCSP: contentPolicy, theme: { title: 'fastify-flags' } })
  await app.ready()
  return app
}
