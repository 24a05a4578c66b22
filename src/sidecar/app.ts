import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { LogController, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { errors, type FlagsError } from '../errors.js'
import flags from '../plugin.js'
import { evaluationRoutes } from '../routes/evaluation.js'
import { healthRoutes } from '../routes/health.js'
import { addMetrics, timeRequests } from '../routes/metrics.js'
import { ofrepRoutes } from '../routes/ofrep.js'
import { pathOf, refusalOf } from '../routes/no-route.js'
import { addDocs, listRoutes } from './docs.js'
import { logOutput } from './output.js'
import { makeRequestLog } from './request-log.js'
import { alwaysText, guardAnswers, logTrouble, requestId, setHeaders } from './requests.js'
import type { Settings } from './settings.js'
import { isEmpty } from './token-settings.js'

/** The sidecar as a Fastify app, ready to listen. */
export async function buildSidecar ({ store, environment, namespace, trust, snapshotFile, tokens, requestTimeout, logLevel, open, cors, publicUrl }: Settings): Promise<FastifyInstance> {
  const tellsRequests = logLevel === 'debug' || logLevel === 'trace'
  const checkingInterval = Math.min(250, requestTimeout / 20) // Node looks for late requests so often, and sees them so much late
  const arrival = requestTimeout - 6 * checkingInterval // and a busy machine later still
  const app: FastifyInstance = Fastify({
    logger: { level: logLevel, stream: logOutput, serializers: { req: describe } },
    logController: new LogController({ disableRequestLogging: !tellsRequests }),
    requestTimeout: arrival, // 0 by default: half-sent bodies stay open for ever
    connectionTimeout: 60_000, // nor may one stay that reads nothing
    http: { headersTimeout: arrival, connectionsCheckingInterval: checkingInterval },
    genReqId: requestId,
    childLoggerFactory: makeRequestLog,
    schemaController: { compilersFactory: { buildValidator: ownCompiler, buildSerializer: ownCompiler } },
    clientErrorHandler,
    frameworkErrors: (_error, request, reply) => {
      setHeaders(request, reply)
      refuseUnreadable(reply, pathOf(request.url))
    }
  })
  const routes = listRoutes(app)
  const changeable = !isEmpty(tokens.admin) || !isEmpty(tokens.read)
  guardAnswers(app, (request, reply) => {
    const hint = !changeable && /^\/admin(?:\/|$)/.test(pathOf(request.url)) ? ': the admin routes are off; set FLAGS_ADMIN_TOKENS=name=secret and start again' : ''
    const refusal = refusalOf(routes, request, reply, hint)
    if (refusal === undefined) return reply.code(204).send()
    refuse(reply, refusal)
  })
  const times = timeRequests(app)
  logTrouble(app)
  await app.register(flags, {
    ...(store.kind === 'redis' ? { redis: store.url } : { store: store.kind === 'file' ? { file: store.path } : 'memory' }),
    environment,
    namespace,
    trust,
    snapshotFile,
    admin: changeable ? { tokens: some(tokens.admin), readTokens: some(tokens.read) } : undefined
  })
  await app.register(healthRoutes)
  await addMetrics(app, { times, tokens: open ? undefined : { admin: tokens.admin, read: tokens.read, evaluation: tokens.evaluation } })
  const evaluation = { tokens: some(tokens.evaluation), browserTokens: some(tokens.browser), identity: 'caller', cors, publicUrl } as const
  await app.register(evaluationRoutes, evaluation)
  await app.register(ofrepRoutes, evaluation)
  await addDocs(app, routes, { open, url: publicUrl })
  await app.ready()
  return app
}

function some<T extends object> (tokens: T): T | undefined {
  return Object.keys(tokens).length === 0 ? undefined : tokens
}

function refuse (reply: FastifyReply, { statusCode, code, message }: FlagsError): void {
  reply.code(statusCode).send({ statusCode, code, error: STATUS_CODES[statusCode], message })
}

/** Routes here bring their own compilers. Fastify's are not even loaded, which is a fifth of the start. */
function ownCompiler (): never {
  throw new Error('a route of the sidecar has a schema, but no compiler for it')
}

/** Fastify's own words show the URL with its query, which may name users. */
function refuseUnreadable (reply: FastifyReply, path: string): void {
  const error = new errors.INVALID_REQUEST('The path of the URL cannot be read: a part of it is no percent-encoded UTF-8, or longer than the 100 characters that a key may have') as FlagsError
  if (path.startsWith('/ofrep/')) reply.code(400).send({ key: path.slice(path.lastIndexOf('/') + 1), errorCode: 'GENERAL', errorDetails: error.message })
  else refuse(reply, error)
}

/** Answers what never became a request. Nothing of it is logged: it may hold a token. */
function clientErrorHandler (this: FastifyInstance, { code }: Error & { code?: string }, socket: Socket): void {
  const statusCode = code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
  if (code !== 'ECONNRESET' && socket.writable) {
    this.log.debug({ code, statusCode }, 'a request was not one')
    const message = statusCode === 408 ? 'The request did not arrive in time' : statusCode === 431 ? 'The headers of the request are too large' : 'This is not an HTTP request'
    const body = JSON.stringify({ statusCode, code: 'FST_FLAGS_INVALID_REQUEST', error: STATUS_CODES[statusCode], message })
    socket.write(`HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode]}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n${alwaysText}\r\n${body}`)
  }
  socket.destroy()
}

/** A request as it is logged: without its query, which may name users. */
function describe ({ method, url, host, ip }: FastifyRequest) {
  return { method, url: pathOf(url), host, remoteAddress: ip }
}
