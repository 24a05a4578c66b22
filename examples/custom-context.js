// Who is asking comes from a verified token instead of headers. `context` is synchronous and runs when a request first
// reads a flag: what it needs (here `req.user`) an onRequest hook has already fetched or verified.
//
//   node examples/custom-context.js
//
// $ curl -s localhost:3000/dashboard
// {"layout":"classic"}
// $ curl -s localhost:3000/dashboard -H 'Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyXzEyMyIsImdyb3VwcyI6WyJiZXRhX3Rlc3RlcnMiXSwicGxhbiI6InBybyJ9.-QW_ghy26NdoRZS4rTkm2C5HT7hYUiZ4FTrke9ms3q0'
// {"layout":"new"}
// $ curl -s localhost:3000/dashboard -H 'x-user-groups: beta_testers'
// {"layout":"classic"}
import jwt from '@fastify/jwt'
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(jwt, { secret: 'an example, never a secret' })

app.addHook('onRequest', async (req) => {
  if (req.headers.authorization !== undefined) await req.jwtVerify()
})

await app.register(flags, {
  store: 'memory',
  context: (req) => req.user && { targetingKey: req.user.sub, groups: req.user.groups, plan: req.user.plan }
})

app.get('/dashboard', async (req) => ({ layout: req.flags.isEnabled('new_dashboard') ? 'new' : 'classic' }))

await app.flags.admin.put('new_dashboard', { enabled: true, serve: 'off', targets: [{ groups: ['beta_testers'] }] })
await app.listen({ port: Number(process.env.PORT ?? 3000) })
