import type { RouteOptions } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { errors, type FlagsError } from '../../errors.js'
import { descriptionOf, type Access, type Answer, type Body, type Described, type ErrorName, type Operation, type Operations, type Parameter, type Schema } from './operation.js'
import { aliases, namedSchemas } from './schemas.js'

type Json = Record<string, unknown>

export interface DocumentOptions {
  version: string
  /** Where callers reach the routes; `/` unless given. */
  url?: string
  /** Whether the evaluation routes answer without a token. */
  open: boolean
}

const securitySchemes = {
  admin: { type: 'http', scheme: 'bearer', description: 'A secret of FLAGS_ADMIN_TOKENS: may read and change everything. Its name stands in the history.' },
  read: { type: 'http', scheme: 'bearer', description: 'A secret of FLAGS_READ_TOKENS: may read and explain.' },
  evaluation: { type: 'http', scheme: 'bearer', description: 'A secret of FLAGS_EVALUATION_TOKENS: a server that asks for its users.' },
  browser: { type: 'http', scheme: 'bearer', description: 'A secret of FLAGS_BROWSER_TOKENS: a front end, which is shown `public` flags only, and not why.' },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'A secret of FLAGS_EVALUATION_TOKENS or FLAGS_BROWSER_TOKENS, as some OpenFeature clients send it.' }
}

const opens: Record<Access, Array<keyof typeof securitySchemes>> = {
  none: [],
  evaluation: ['evaluation', 'browser', 'apiKey'],
  metrics: ['evaluation', 'read', 'admin'],
  read: ['read', 'admin'],
  write: ['admin']
}

const knownParams: Record<string, Parameter> = {
  key: { description: 'The key of the flag.', schema: { $ref: '#/components/schemas/Key' }, example: 'new_checkout_flow' },
  environment: { description: 'The name of an environment.', schema: { $ref: '#/components/schemas/Key' }, example: 'production' }
}

/** The OpenAPI 3.1 document of those routes that are described. */
export function openapiDocument (routes: Iterable<RouteOptions>, { version, url = '/', open }: DocumentOptions): Json {
  const paths: Record<string, Json> = {}
  const groups = new Set<Operations>()
  for (const route of routes) {
    const described = descriptionOf(route)
    if (described === undefined) continue
    groups.add(described.group)
    const path = (route.url.length > 1 ? route.url.replace(/\/$/, '') : route.url).replace(/:(\w+)/g, '{$1}')
    for (const method of [route.method].flat()) (paths[path] ??= {})[method.toLowerCase()] = operationObject(described, method, path, open)
  }
  const schemas = { ...namedSchemas, ...Object.assign({}, ...[...groups].map(({ schemas }) => schemas)) as Record<string, Schema> }
  return {
    openapi: '3.1.0',
    info: {
      title: 'fastify-flags',
      version,
      summary: 'Feature flags: evaluation for every stack, and their administration.',
      description: 'Every error is `{ statusCode, code, error, message, details? }`: `code` is stable, `message` says what to do next, `details` names each field at fault. What has no route is answered 404 `FST_FLAGS_ROUTE_NOT_FOUND`, another method than those of its route 405 `FST_FLAGS_METHOD_NOT_ALLOWED`. The OFREP routes answer errors as their protocol says.',
      license: { name: 'MIT', identifier: 'MIT' }
    },
    servers: [{ url }],
    tags: [...groups].map(({ tag }) => tag),
    paths: named({ paths }, schemas).paths,
    components: { schemas: components(schemas), securitySchemes }
  }
}

function operationObject ({ group, operation }: Described, method: string, path: string, open: boolean): Json {
  const { summary, description, params, query, headers, body } = operation
  const access = operation.access ?? group.access
  const asked = opens[access]
  return {
    operationId: operationId(method, path),
    tags: [group.tag.name],
    summary,
    description,
    security: asked.length === 0 ? [] : [...(open && (access === 'evaluation' || access === 'metrics') ? [{}] : []), ...asked.map((name) => ({ [name]: [] }))],
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => parameterObject('path', name!, params?.[name!] ?? knownParams[name!] ?? { description: name! })),
      ...Object.entries(query ?? {}).map(([name, parameter]) => parameterObject('query', name, parameter)),
      ...Object.entries(headers ?? {}).map(([name, parameter]) => parameterObject('header', name, parameter))
    ],
    requestBody: body && bodyObject(body),
    responses: {
      ...Object.fromEntries(Object.entries(operation.answers).map(([status, answer]) => [status, answerObject(answer)])),
      ...(group.ourErrors === false ? {} : refusals(errorsOf(group, operation, access, path)))
    }
  }
}

/** `PUT /admin/flags/{key}` as `putAdminFlagsKey`: what generated clients call it. */
function operationId (method: string, path: string): string {
  return method.toLowerCase() + path.split(/[^A-Za-z0-9]+/).map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}

function parameterObject (place: string, name: string, { description, schema = { type: 'string' }, example }: Parameter): Json {
  return { in: place, name, description, required: place === 'path' ? true : undefined, schema, example }
}

function bodyObject ({ schema, examples, required = true, types = ['application/json'] }: Body): Json {
  const media = { schema, examples: Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }])) }
  return { required, content: Object.fromEntries(types.map((type) => [type, media])) }
}

function answerObject ({ description, schema, type = 'application/json', example, headers }: Answer): Json {
  return {
    description,
    headers: headers && Object.fromEntries(Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }])),
    content: schema && { [type]: { schema, example } }
  }
}

/** Every error a route may answer with: its own, its group's, and what follows from who may ask and from what is sent. */
function errorsOf (group: Operations, { errors: own = [], body }: Operation, access: Access, path: string): Set<ErrorName> {
  const names = new Set<ErrorName>([...(group.errors ?? []), ...own, 'INTERNAL'])
  if (path.includes('{')) names.add('INVALID_REQUEST')
  if (body !== undefined) for (const name of ['INVALID_REQUEST', 'INVALID_JSON', 'BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const) names.add(name)
  if (access !== 'none') for (const name of ['UNAUTHORIZED', 'TOO_MANY_ATTEMPTS'] as const) names.add(name)
  if (access === 'write' || access === 'metrics') names.add('FORBIDDEN')
  return names
}

/** One response for each status, which tells the codes it may carry. */
function refusals (names: Iterable<ErrorName>): Json {
  const byStatus = new Map<number, Array<{ code: string, text: string }>>()
  for (const name of names) {
    const { statusCode, code, message } = new errors[name]() as FlagsError
    byStatus.set(statusCode, [...byStatus.get(statusCode) ?? [], { code, text: message.replace(/%[sd]/g, '…') }])
  }
  return Object.fromEntries([...byStatus].sort(([a], [b]) => a - b).map(([statusCode, some]) => [statusCode, {
    description: some.map(({ code, text }) => text === '…' ? `\`${code}\`` : `\`${code}\`: ${text}`).join('\n\n'),
    headers: statusCode === 429 ? { 'Retry-After': { description: 'Seconds until the next try is heard.', schema: { type: 'string' } } } : statusCode === 401 ? { 'WWW-Authenticate': { description: 'Bearer', schema: { type: 'string' } } } : undefined,
    content: {
      'application/json': {
        schema: { allOf: [{ $ref: '#/components/schemas/Error' }, { properties: { statusCode: { const: statusCode }, code: { enum: some.map(({ code }) => code) } } }] },
        example: { statusCode, code: some[0]!.code, error: STATUS_CODES[statusCode], message: some[0]!.text }
      }
    }
  }]))
}

function components (schemas: Record<string, Schema>): Json {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, named(schema, schemas, name)]))
}

/** Plain JSON in which each part that equals a named schema is a reference to that; `self` is not replaced by itself. */
function named<T> (value: T, schemas: Record<string, Schema>, self?: string): T {
  const names = new Map<string, string>()
  for (const { name, schema } of aliases) names.set(JSON.stringify(schema), name)
  for (const [name, schema] of Object.entries(schemas)) if (name !== self) names.set(JSON.stringify(schema), name)
  const replace = (part: unknown): unknown => {
    if (typeof part !== 'object' || part === null) return part
    const name = names.get(JSON.stringify(part))
    if (name !== undefined) return { $ref: `#/components/schemas/${name}` }
    return Array.isArray(part) ? part.map(replace) : Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, replace(inner)]))
  }
  return replace(JSON.parse(JSON.stringify(value))) as T
}
