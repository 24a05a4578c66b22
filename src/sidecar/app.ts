import { STATUS_CODES } from 'node:http'
import Fastify, { LogController, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { errors, type FlagsError } from '../errors.js'
import flags from '../plugin.js'
import { adminRoutes } from '../routes/admin.js'
import { evaluationRoutes } from '../routes/evaluation.js'
import { healthRoutes } from '../routes/health.js'
import { pathOf } from '../routes/scope.js'
import { isEmpty, type Settings } from './settings.js'

/** The sidecar as a Fastify app, ready to listen. */
export async function buildSidecar ({ store, environment, namespace, trust, tokens, logLevel }: Settings): Promise<FastifyInstance> {
  const tellsRequests = logLevel === 'debug' || logLevel === 'trace'
  const app: FastifyInstance = Fastify({
    logger: { level: logLevel, serializers: { req: describe } },
    logController: new LogController({ disableRequestLogging: !tellsRequests }),
    requestTimeout: 10_000, // 0 by default: half-sent bodies stay open for ever
    connectionTimeout: 60_000, // nor may one stay that reads nothing
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 1000 },
    frameworkErrors: (error, _request, reply) => { refuse(reply, new errors.INVALID_REQUEST(error.message) as FlagsError) }
  })
  await app.register(flags, {
    ...(store.kind === 'redis' ? { redis: store.url } : { store: store.kind === 'file' ? { file: store.path } : 'memory' }),
    environment,
    namespace,
    trust
  })
  await app.register(healthRoutes)
  await app.register(evaluationRoutes, { tokens: some(tokens.evaluation), browserTokens: some(tokens.browser), identity: 'caller' })
  const changeable = !isEmpty(tokens.admin) || !isEmpty(tokens.read)
  if (changeable) await app.register(adminRoutes, { prefix: '/admin', tokens: some(tokens.admin), readTokens: some(tokens.read) })
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request.url)
    const hint = !changeable && /^\/admin(?:\/|$)/.test(path) ? ': the admin routes are off; set FLAGS_ADMIN_TOKENS=name=secret and start again' : ''
    refuse(reply, new errors.ROUTE_NOT_FOUND(`${request.method} ${path}${hint}`) as FlagsError)
  })
  await app.ready()
  return app
}

function some<T extends object> (tokens: T): T | undefined {
  return Object.keys(tokens).length === 0 ? undefined : tokens
}

function refuse (reply: FastifyReply, { statusCode, code, message }: FlagsError): void {
  reply.code(statusCode).send({ statusCode, code, error: STATUS_CODES[statusCode], message })
}

/** A request as it is logged: without its query, which may name users. */
function describe ({ method, url, host, ip }: FastifyRequest) {
  return { method, url: pathOf(url), host, remoteAddress: ip }
}
