// Rollouts in stages: moved by hand, moved by the clock, and a release at a set time.
//
//   node examples/rollouts.js
//
// $ curl -s localhost:3000/payment -H 'x-user-groups: internal'
// {"payment":"new"}
// $ curl -s localhost:3000/payment -H 'x-user-id: user_8'
// {"payment":"classic"}
// $ curl -s -X POST localhost:3000/admin/flags/new_payment/rollout/advance -H 'Authorization: Bearer a-token-for-this-example' -H 'Content-Type: application/json' -d '{"from":0}'
// {"key":"new_payment","enabled":true,"serve":{"stages":"…","state":{"stage":1,"since":"…"}},"version":…,"createdAt":"…","updatedAt":"…","updatedBy":"alice"}
// $ curl -s localhost:3000/payment -H 'x-user-id: user_8'
// {"payment":"new"}
// $ curl -s -X POST localhost:3000/admin/flags/new_payment/rollout/advance -H 'Authorization: Bearer a-token-for-this-example' -H 'Content-Type: application/json' -d '{"from":0}'
// {"statusCode":409,"code":"FST_FLAGS_ROLLOUT_CONFLICT","error":"Conflict","message":"Flag new_payment stands at stage 1, not 0: somebody, or its clock, has moved it already; read it again"}
// $ curl -s localhost:3000/admin/flags/new_payment/rollout -H 'Authorization: Bearer a-token-for-this-example'
// {"key":"new_payment","status":"waiting","stage":1,"stages":3,"percentage":50,"groups":["internal"],"since":"…","next":{"stage":2,"percentage":100,"groups":["internal"],"at":null},"why":"…","moved":{"action":"advance","version":…,"updatedAt":"…","updatedBy":"alice"},"version":…}
// $ curl -s -X POST localhost:3000/admin/flags/new_payment/rollout/rollback -H 'Authorization: Bearer a-token-for-this-example'
// {"key":"new_payment","enabled":true,"serve":{"stages":"…","state":{"stage":0,"since":"…","pausedAt":"…"}},"version":…,"createdAt":"…","updatedAt":"…","updatedBy":"alice"}
// $ curl -s localhost:3000/payment -H 'x-user-id: user_8'
// {"payment":"classic"}
// $ curl -s localhost:3000/search -H 'x-user-id: user_8'
// {"search":"new"}
// $ curl -s localhost:3000/sale -H 'x-user-id: user_8'
// {"sale":true}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(flags, {
  store: 'memory',
  admin: { tokens: { alice: process.env.ADMIN_TOKEN ?? 'a-token-for-this-example' } }
})
const { admin } = app.flags

// By hand: who works here first, then half of all users, then everyone, each time that somebody says so.
await admin.put('new_payment', {
  enabled: true,
  serve: { stages: [{ percentage: 0, groups: ['internal'] }, { percentage: 50 }, { percentage: 100 }] }
})

// By the clock: a stage lasts its hours (here a second, so that one can watch), unless somebody pauses or rolls back.
await admin.put('new_search', {
  enabled: true,
  serve: { stages: [{ percentage: 5, hours: 1 / 3600 }, { percentage: 25, hours: 1 / 3600 }, { percentage: 100 }] }
})

// At a set time: nobody before it, everybody from then on (here two seconds from now).
await admin.put('summer_sale', {
  enabled: true,
  serve: { stages: [{ percentage: 100, at: new Date(Date.now() + 2000).toISOString() }] }
})

app.flags.on('stage', ({ flag, stage, percentage }) => app.log.info(`${flag} is at stage ${stage} now: ${percentage} %`))

app.get('/payment', async (req) => ({ payment: req.flags.isEnabled('new_payment') ? 'new' : 'classic' }))
app.get('/search', async (req) => ({ search: req.flags.isEnabled('new_search') ? 'new' : 'classic' }))
app.get('/sale', async (req) => ({ sale: req.flags.isEnabled('summer_sale') }))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
