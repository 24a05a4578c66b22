// Who gets what: users, groups, regions, rules, a segment, a percentage; and `explain`, which tells why.
//
//   node examples/targeting.js
//
// $ curl -s localhost:3000/analytics
// {"enabled":false,"cause":"default"}
// $ curl -s localhost:3000/analytics -H 'x-user-groups: employees'
// {"enabled":true,"cause":"target-group"}
// $ curl -s localhost:3000/analytics -H 'x-user-id: carol' -H 'x-plan: pro' -H 'x-country: fr'
// {"enabled":true,"cause":"rule","rule":"paying, in the EU"}
// $ curl -s localhost:3000/analytics -H 'x-user-id: carol' -H 'x-plan: pro' -H 'x-country: us'
// {"enabled":false,"cause":"default"}
// $ curl -s localhost:3000/search -H 'x-user-id: user_8'
// {"enabled":true,"cause":"rollout-hit"}
// $ curl -s localhost:3000/search -H 'x-user-id: user_7'
// {"enabled":false,"cause":"rollout-miss"}
// $ curl -s localhost:3000/search
// {"enabled":false,"cause":"no-bucketing-key"}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory', headers: { plan: 'x-plan', country: 'x-country' } })
const { admin } = app.flags

await admin.putSegment('eu-countries', { when: { attribute: 'country', operator: 'in', value: ['de', 'fr', 'es'] } })
await admin.put('premium_analytics', {
  enabled: true,
  targets: [{ users: ['user_123'], groups: ['employees'] }],
  rules: [{
    name: 'paying, in the EU',
    when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'enterprise'] }, { segment: 'eu-countries' }] },
    serve: 'on'
  }],
  serve: 'off'
})
await admin.put('new_search', { enabled: true, serve: { percentage: 25 } })

const tell = (req, key) => {
  const { value, flagMetadata: { cause, rule } } = req.flags.getDetails(key, false)
  return { enabled: value, cause, rule }
}
app.get('/analytics', async (req) => tell(req, 'premium_analytics'))
app.get('/search', async (req) => tell(req, 'new_search'))
app.get('/why', async (req) => req.flags.explain('new_search'))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
