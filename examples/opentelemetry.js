// Every evaluation as an OpenTelemetry event, `feature_flag.evaluation`, as its semantic conventions name things. It is made
// of what fastify-flags tells on a diagnostics channel: nothing is paid for that while nobody listens.
//
//   node examples/opentelemetry.js
//
// $ curl -s localhost:3000/search -H 'x-user-id: user_123'
// {"engine":"fast"}
// $ curl -s localhost:3000/exported
// [{"eventName":"feature_flag.evaluation","attributes":{"feature_flag.key":"search-engine","feature_flag.result.variant":"fast","feature_flag.result.reason":"targeting_match","feature_flag.provider.name":"fastify-flags","feature_flag.set.id":"production","feature_flag.version":"1"}}]
import { subscribe } from 'node:diagnostics_channel'
import { logs } from '@opentelemetry/api-logs'
import Fastify from 'fastify'
import flags from 'fastify-flags'

// In an app: the LoggerProvider of @opentelemetry/sdk-logs, with the exporter you use. Here what it is given can be looked at.
const exported = []
logs.setGlobalLoggerProvider({ getLogger: () => ({ enabled: () => true, emit: (record) => { exported.push(record) } }) })

const logger = logs.getLogger('fastify-flags')

subscribe('fastify-flags:evaluation', ({ key, variant, reason, errorCode, errorMessage, environment, flagMetadata }) => {
  logger.emit({
    eventName: 'feature_flag.evaluation',
    attributes: {
      'feature_flag.key': key,
      'feature_flag.result.variant': variant,
      'feature_flag.result.reason': reason.toLowerCase(),
      'feature_flag.provider.name': 'fastify-flags',
      'feature_flag.set.id': environment,
      'feature_flag.version': flagMetadata.version?.toString(),
      'error.type': errorCode?.toLowerCase(),
      'error.message': errorMessage
      // The message has the `context` too. 'feature_flag.context.id' would be its targetingKey: only if users may be named there.
    }
  })
})

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory' })

app.get('/search', async (req) => ({ engine: req.flags.getValue('search-engine', 'plain') }))
app.get('/exported', async () => exported)

await app.flags.admin.put('search-engine', { enabled: true, variants: ['plain', 'fast'], serve: 'plain', targets: [{ variant: 'fast', users: ['user_123'] }] })
await app.listen({ port: Number(process.env.PORT ?? 3000) })
