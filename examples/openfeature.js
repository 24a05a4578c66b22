// The app's own code speaks OpenFeature; the flags of this process answer. Who asks is known from the transaction context:
// set once for each request, it is in every evaluation that its handlers make.
//
//   node examples/openfeature.js
//
// $ curl -s localhost:3000/greeting
// {"value":"Hello","variant":"plain","reason":"DEFAULT"}
// $ curl -s localhost:3000/greeting -H 'x-user-groups: beta_testers'
// {"value":"Ahoy","variant":"nautical","reason":"TARGETING_MATCH"}
// $ curl -s localhost:3000/basket
// {"items":10}
import { AsyncLocalStorageTransactionContextPropagator, OpenFeature, ProviderEvents } from '@openfeature/server-sdk'
import Fastify from 'fastify'
import flags from 'fastify-flags'
import { FlagsProvider } from 'fastify-flags/openfeature'

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory' })
await OpenFeature.setProviderAndWait(new FlagsProvider(app.flags))
app.addHook('onClose', () => OpenFeature.close())

// As late as this, hooks that authenticate have run.
OpenFeature.setTransactionContextPropagator(new AsyncLocalStorageTransactionContextPropagator())
app.addHook('preHandler', (req, reply, done) => OpenFeature.setTransactionContext(req.flags.context, done))

const client = OpenFeature.getClient()
client.addHandler(ProviderEvents.ConfigurationChanged, (event) => app.log.info({ flags: event.flagsChanged }, 'flags changed'))

app.get('/greeting', async () => {
  const { value, variant, reason } = await client.getStringDetails('greeting', 'Hi')
  return { value, variant, reason }
})

app.get('/basket', async () => ({ items: await client.getNumberValue('basket_size', 5) }))

await app.flags.admin.put('greeting', {
  enabled: true,
  variants: { plain: 'Hello', nautical: 'Ahoy' },
  offVariant: 'plain',
  targets: [{ variant: 'nautical', groups: ['beta_testers'] }],
  serve: 'plain'
})
await app.flags.admin.put('basket_size', { enabled: true, variants: { small: 10, large: 50 }, offVariant: 'small', serve: 'small' })
await app.listen({ port: Number(process.env.PORT ?? 3000) })
