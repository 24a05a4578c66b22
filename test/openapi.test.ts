import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { FastifyInstance, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { errors, type FlagsError } from '../src/errors.js'
import { buildSidecar } from '../src/sidecar/app.js'
import { readSettings } from '../src/sidecar/settings.js'

const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`

interface Operation { operationId: string, summary: string, tags: string[], security: object[], parameters: Array<{ in: string, name: string, description: string, example?: string }>, requestBody?: { content: Record<string, { examples: Record<string, { value: object }> }> }, responses: Record<string, { description: string, content?: Record<string, { example: unknown }> }> }
interface Document extends Record<string, unknown> { openapi: string, paths: Record<string, Record<string, Operation>>, components: { schemas: Record<string, object> } }

/** A sidecar with all that can be opened, and every route it has, as Fastify tells whoever listens. */
async function build (t: Test, env: Record<string, string> = { FLAGS_ADMIN_TOKENS: `alice=${secret('a')}` }): Promise<{ app: FastifyInstance, routes: RouteOptions[], document: Document }> {
  const routes: RouteOptions[] = []
  const listen = (message: unknown) => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', (route) => { routes.push(route) })
  }
  subscribe('fastify.initialization', listen)
  const app = await buildSidecar(readSettings(['--log-level', 'silent', '--memory'], env))
  unsubscribe('fastify.initialization', listen)
  t.teardown(() => app.close())
  return { app, routes, document: (await app.inject('/openapi.json')).json() }
}

t.test('the document is valid OpenAPI 3.1, and names the parts of a flag', async (t) => {
  const { document } = await build(t)
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  t.ok(valid, JSON.stringify(errors))
  t.equal(document.openapi, '3.1.0')
  const text = JSON.stringify(document)
  t.same([...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].filter(([, name]) => !(name! in document.components.schemas)), [], 'every reference leads somewhere')
  t.notMatch(text, /"\$ref":"[^#]|\$defs|"\$id"/)
  t.match(document.components.schemas.Flag, { properties: { rules: { items: { $ref: '#/components/schemas/Rule' } }, serve: { $ref: '#/components/schemas/Serve' } } })
  t.match(document.components.schemas.When, { anyOf: [{ properties: { all: { items: { $ref: '#/components/schemas/When' } } } }] })
})

t.test('every route is in the document, with an example of each body and answer', async (t) => {
  const { routes, document } = await build(t)
  const left = routes.filter(({ url, method }) => !url.startsWith('/docs') && !url.endsWith('*') && method !== 'HEAD' && method !== 'OPTIONS')
  t.ok(left.length > 20)
  const faults = left.filter(({ url, method }) => document.paths[url.replace(/:(\w+)/g, '{$1}')]?.[String(method).toLowerCase()] === undefined).map(({ url, method }) => `${String(method)} ${url} is missing`)
  const ids = new Set<string>()
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { operationId, summary, tags, parameters, requestBody, responses }] of Object.entries(operations)) {
      const fault = (text: string) => faults.push(`${method.toUpperCase()} ${path} ${text}`)
      if (!summary || tags.length !== 1) fault('has no summary or tag')
      if (ids.size === ids.add(operationId).size) fault('has the operationId of another')
      if (!Object.keys(responses).some((status) => status.startsWith('2'))) fault('never succeeds')
      for (const { name, description } of parameters) if (!(description.length > 10)) fault(`does not describe ${name}`)
      for (const { examples } of Object.values(requestBody?.content ?? {})) if (Object.keys(examples).length === 0) fault('has no example of its body')
      for (const [status, { content }] of Object.entries(responses)) {
        for (const { example } of Object.values(content ?? {})) if (example === undefined && path !== '/openapi.json') fault(`has no example of its ${status}`)
      }
    }
  }
  t.same(faults, [])
})

/** What is never the answer to a request of the sidecar: it stands in logs and in `problem`, or an app gives it, or OFREP has its own code for it. */
const unsent = ['INVALID_CONTEXT', 'EVENTS_WAITING', 'EVENTS_LOST', 'GUARD_WAITING', 'OUTCOMES_LOST', 'TOO_MANY_STREAMS', 'FLAG_OFF', 'STORE_REPLACED', 'STORE_RESTORED', 'STORE_RESET', 'WRITES_LOST', 'SNAPSHOT_FILE', 'CONTEXT_FAILED', 'INVALID_OPTION', 'ALREADY_REGISTERED']

t.test('every error that can be sent over HTTP is described', async (t) => {
  const text = JSON.stringify((await build(t)).document)
  const described = Object.entries(errors).filter(([, FlagsError]) => text.includes(`\`${(new FlagsError() as FlagsError).code}\``)).map(([name]) => name)
  t.same(described, Object.keys(errors).filter((name) => !unsent.includes(name)))
})

t.test('each example of a body is taken by a server that has what it names, and every answer, also to whoever has no token, is one of those described', async (t) => {
  const { app, document } = await build(t, { FLAGS_ADMIN_TOKENS: `alice=${secret('a')}`, FLAGS_EVALUATION_TOKENS: `shop=${secret('s')}` })
  const faults: string[] = []
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { parameters, requestBody, responses, security }] of Object.entries(operations)) {
      if (path === '/ofrep/v1/events') continue // it does not end
      const url = path.replace(/\{(\w+)\}/g, (_, name) => String(parameters.find((parameter) => parameter.in === 'path' && parameter.name === name)?.example))
      const examples = Object.entries(requestBody?.content ?? {}).flatMap(([type, { examples }]) => Object.values(examples).map(({ value }) => ({ type, value })))
      const bodies: Array<{ type?: string, value?: object }> = examples.length === 0 ? [{}] : examples
      for (const { type, value } of bodies) {
        for (const token of [path.startsWith('/admin') || path === '/metrics' ? 'a' : 's', undefined]) {
          await app.flags.admin.put('new_checkout_flow', { enabled: true, owner: 'x', ...path.endsWith('/targets') && { serve: 'on' } })
          const { statusCode, body } = await app.inject({
            method: method.toUpperCase() as 'GET',
            url,
            headers: { ...token !== undefined && { authorization: `Bearer ${secret(token)}` }, ...value !== undefined && { 'content-type': type }, ...(method === 'put' || method === 'delete') && { 'if-match': '*' } },
            payload: value
          })
          if (!(String(statusCode) in responses)) faults.push(`${method} ${url} answers ${statusCode}, which is not described: ${body.slice(0, 200)}`)
          if (token === undefined && (statusCode === 401) !== (security.length > 0)) faults.push(`${method} ${url} answers ${statusCode} without a token`)
          if (token !== undefined && [400, 413, 415, 500, 503].includes(statusCode)) faults.push(`${method} ${url} refuses its example ${JSON.stringify(value)}: ${body.slice(0, 300)}`)
        }
      }
    }
  }
  t.same(faults, [])
})
