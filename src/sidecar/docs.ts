import swagger, { type StaticDocumentSpec } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { openapiDocument } from '../routes/openapi/document.js'
import { serverOperations } from '../routes/openapi/server.js'
import { openScope } from '../routes/scope.js'
import { version } from './help.js'

/** Swagger UI draws itself with inline styles; everything else comes from here. */
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Every route registered from here on. */
export function listRoutes (app: FastifyInstance): RouteOptions[] {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    if (route.method !== 'HEAD') routes.push(route) // stands with its GET
  })
  return routes
}

/** `GET /openapi.json`, and `/docs` to read and try it; of the routes there are by now. */
export async function addDocs (app: FastifyInstance, routes: RouteOptions[], { open, url }: { open: boolean, url?: string }): Promise<void> {
  let text = ''
  await app.register(async (app) => {
    openScope(app, { operations: serverOperations }).get('/openapi.json', (request, reply) => reply.type('application/json; charset=utf-8').send(text))
  })
  const document = openapiDocument(routes, { version: version(), url, open })
  text = JSON.stringify(document)
  await app.register(async (pages) => {
    pages.addHook('onRequest', async (request, reply) => { reply.header('referrer-policy', 'no-referrer').header('x-frame-options', 'DENY') })
    await pages.register(swagger, { mode: 'static', specification: { document: document as unknown as StaticDocumentSpec['document'] } }) // its type knows no 3.1
    await pages.register(swaggerUi, { routePrefix: '/docs', indexPrefix: url === undefined ? '' : new URL(url).pathname.replace(/\/$/, ''), staticCSP: contentPolicy, theme: { title: 'fastify-flags' } })
  })
}
