// Each evaluation becomes an OpenTelemetry event `feature_flag.evaluation`, in the trace of whoever asked, by OpenTelemetry's
// semantic conventions. Here events are kept in memory, for a route to show; your app has a LoggerProvider that exports them.
//
//   node examples/opentelemetry.js
//
// $ curl -s localhost:3000/checkout -H 'x-user-id: alice'
// {"checkout":"new","columns":1}
// $ curl -s localhost:3000/events
// [{"name":"feature_flag.evaluation","feature_flag.key":"new_checkout_flow","feature_flag.result.variant":"on","feature_flag.result.reason":"targeting_match","feature_flag.context.id":"alice","feature_flag.provider.name":"fastify-flags","feature_flag.set.id":"production","feature_flag.version":"1"},
//  {"name":"feature_flag.evaluation","feature_flag.key":"new_checkout_flow","feature_flag.result.value":1,"feature_flag.result.reason":"error","error.type":"type_mismatch","feature_flag.error.message":"the flag's values are of type boolean","feature_flag.context.id":"alice","feature_flag.provider.name":"fastify-flags","feature_flag.set.id":"production"}]
import { subscribe } from 'node:diagnostics_channel'
import { logs, SeverityNumber } from '@opentelemetry/api-logs'
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs'
import Fastify from 'fastify'
import flags from 'fastify-flags'

const exporter = new InMemoryLogRecordExporter() // in production a BatchLogRecordProcessor with an OTLP exporter
logs.setGlobalLoggerProvider(new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] }))

const logger = logs.getLogger('fastify-flags')
subscribe('fastify-flags:evaluation', ({ key, value, variant, reason, errorCode, errorMessage, flagMetadata, environment, context }) => {
  logger.emit({
    eventName: 'feature_flag.evaluation',
    severityNumber: errorCode === undefined ? SeverityNumber.INFO : SeverityNumber.WARN,
    attributes: {
      'feature_flag.key': key,
      'feature_flag.result.variant': variant,
      'feature_flag.result.value': variant === undefined ? value : undefined,
      'feature_flag.result.reason': reason.toLowerCase(),
      'error.type': errorCode?.toLowerCase(),
      'feature_flag.error.message': errorMessage,
      'feature_flag.context.id': context.targetingKey, // who asked: leave it out where telemetry must not know
      'feature_flag.provider.name': 'fastify-flags',
      'feature_flag.set.id': environment,
      'feature_flag.version': flagMetadata.version?.toString()
    }
  })
})

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory' })

app.get('/checkout', async (req) => ({
  checkout: req.flags.isEnabled('new_checkout_flow') ? 'new' : 'classic',
  columns: req.flags.getValue('new_checkout_flow', 1) // a mistake: the flag is no number
}))

app.get('/events', async () => exporter.getFinishedLogRecords().map(({ eventName, attributes }) => ({ name: eventName, ...attributes })))

await app.flags.admin.put('new_checkout_flow', { enabled: true, serve: 'off', targets: [{ users: ['alice'] }] })
await app.listen({ port: Number(process.env.PORT ?? 3000) })
