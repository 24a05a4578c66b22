// The smallest app: one flag, one route that asks. Flags live in memory here; see redis.js for more than one process.
//
//   node examples/basic.js
//
// $ curl -s localhost:3000/checkout
// {"checkout":"classic"}
// $ curl -s localhost:3000/checkout -H 'x-user-id: alice'
// {"checkout":"new"}
// $ curl -s -i localhost:3000/beta
// HTTP/1.1 404 Not Found
// $ curl -s localhost:3000/beta -H 'x-user-groups: beta_testers'
// hello, beta
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory' })

app.get('/checkout', async (req) => {
  return { checkout: req.flags.isEnabled('new_checkout_flow') ? 'new' : 'classic' }
})

app.get('/beta', { config: { flag: 'beta_page' } }, async () => 'hello, beta')

await app.flags.admin.put('new_checkout_flow', { enabled: true, serve: 'off', targets: [{ users: ['alice'] }] })
await app.flags.admin.put('beta_page', { enabled: true, serve: 'off', targets: [{ groups: ['beta_testers'] }] })
await app.listen({ port: Number(process.env.PORT ?? 3000) })
