// The admin routes behind an app's own authentication: `authorize` names the actor who stands in the history, or nobody.
//
//   node examples/admin.js
//
// $ curl -s localhost:3000/operations/flags
// {"statusCode":401,"code":"FST_FLAGS_UNAUTHORIZED","error":"Unauthorized","message":"…"}
// $ curl -s -X PUT localhost:3000/operations/flags/dark_mode -H 'Cookie: session=s1' -H 'Content-Type: application/json' -d '{"enabled":true,"serve":{"percentage":25}}'
// {"key":"dark_mode","enabled":true,"serve":{"percentage":25},"version":1,"createdAt":"…","updatedAt":"…","updatedBy":"alice"}
// $ curl -s -X PATCH localhost:3000/operations/flags/dark_mode -H 'Cookie: session=s1' -H 'Content-Type: application/json' -d '{"serve":{"percentage":50}}'
// {"key":"dark_mode","enabled":true,"serve":{"percentage":50},"version":2,"createdAt":"…","updatedAt":"…","updatedBy":"alice"}
// $ curl -s -X POST localhost:3000/operations/flags/dark_mode/disable -H 'Cookie: session=s2'
// {"statusCode":401,"code":"FST_FLAGS_UNAUTHORIZED","error":"Unauthorized","message":"…"}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const sessions = new Map([
  ['s1', { name: 'alice', role: 'operator' }],
  ['s2', { name: 'bob', role: 'reader' }]
])

const app = Fastify({ logger: true })
app.decorateRequest('person', null)
app.addHook('onRequest', async (req) => {
  req.person = sessions.get(/session=(\w+)/.exec(req.headers.cookie ?? '')?.[1]) ?? null
})

await app.register(flags, {
  store: 'memory',
  admin: {
    prefix: '/operations',
    authorize: (req) => req.person?.role === 'operator' ? req.person.name : undefined
  }
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
