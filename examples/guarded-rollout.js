// Rollouts that watch themselves: the app is under load, one of two new things has a bug. Its rollout stops by itself within
// seconds; the other goes on to everyone.
//
//   node examples/guarded-rollout.js
//
// $ curl -s localhost:3000/rollouts/new_prices
// {"status":"disabled","percentage":20,"stoppedBy":"errors","moved":"guard"}
// $ curl -s localhost:3000/rollouts/new_footer
// {"status":"complete","percentage":100}
// $ curl -s localhost:3000/prices -H 'x-user-id: user_1'
// {"prices":"old"}
// $ curl -s localhost:3000/footer -H 'x-user-id: user_1'
// {"footer":"new"}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true, disableRequestLogging: true })
await app.register(flags, { store: 'memory' })
const { admin } = app.flags

// By the clock (here a second a stage, so that one can watch), but never on before 200 requests of those who have it were seen,
// and back as soon as they fail, or take longer than half a second, more often than those of the others.
const carefully = {
  stages: [{ percentage: 20, hours: 1 / 3600 }, { percentage: 50, hours: 1 / 3600 }, { percentage: 100 }],
  guard: { errors: {}, latency: { overMs: 500 }, minimum: 200, action: 'rollback' }
}
await admin.put('new_prices', { enabled: true, serve: carefully })
await admin.put('new_footer', { enabled: true, serve: carefully })

app.flags.on('guard', ({ flag, alarm: { metric, control, treated } }) => {
  app.log.warn(`${flag} was stopped for its ${metric}: ${treated.count} of ${treated.of} requests, against ${control.count} of ${control.of} without it`)
})

app.get('/prices', async (req) => {
  if (!req.flags.isEnabled('new_prices')) return { prices: 'old' }
  if (Math.random() < 0.2) throw new Error('the bug in the new prices')
  return { prices: 'new' }
})
app.get('/footer', async (req) => ({ footer: req.flags.isEnabled('new_footer') ? 'new' : 'old' }))
app.get('/rollouts/:flag', async (req) => {
  const { status, percentage, alarm, moved } = await admin.rollout(req.params.flag)
  return { status, percentage, ...alarm && { stoppedBy: alarm.metric, moved: moved?.updatedBy } }
})

// The load: some 1,000 requests a second of 10,000 users, until the app is closed.
const load = setInterval(() => {
  for (let i = 0; i < 10; i++) {
    const headers = { 'x-user-id': `user_${Math.floor(Math.random() * 10_000)}` }
    for (const url of ['/prices', '/footer']) app.inject({ url, headers })
  }
}, 20)
app.addHook('onClose', () => clearInterval(load))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
