import Fastify, { LogController, type FastifyInstance, type FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import flags from '../plugin.js'
import { evaluationRoutes } from '../routes/evaluation.js'
import { healthRoutes } from '../routes/health.js'
import { pathOf } from '../routes/scope.js'
import { isEmpty, type Settings } from './settings.js'

/** The sidecar as a Fastify app, ready to listen. */
export async function buildSidecar ({ store, environment, namespace, trust, tokens, logLevel }: Settings): Promise<FastifyInstance> {
  const app = Fastify({
    logger: { level: logLevel, serializers: { req: describe } },
    logController: new LogController({ disableRequestLogging: logLevel !== 'debug' && logLevel !== 'trace' }),
    requestTimeout: 10_000, // 0 by default: half-sent bodies stay open for ever
    connectionTimeout: 60_000, // nor may one stay that reads nothing
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 1000 },
    routerOptions: { maxParamLength: 16_384 } // longer than any URL: what is no key is answered by our routes
  })
  await app.register(flags, { environment, namespace, trust, ...(store.kind === 'redis' ? { redis: store.url } : { store: 'memory' }) })
  await app.register(healthRoutes)
  await app.register(evaluationRoutes, {
    identity: 'caller',
    tokens: isEmpty(tokens.evaluation) ? undefined : tokens.evaluation,
    browserTokens: isEmpty(tokens.browser) ? undefined : tokens.browser
  })
  app.setNotFoundHandler((request, reply) => {
    const { statusCode, code, message } = new errors.ROUTE_NOT_FOUND(`${request.method} ${pathOf(request.url)}`)
    return reply.code(404).send({ statusCode, code, error: 'Not Found', message })
  })
  return app
}

/** A request as it is logged: without its query, which may name users. */
function describe ({ method, url, host, ip }: FastifyRequest) {
  return { method, url: pathOf(url), host, remoteAddress: ip }
}
