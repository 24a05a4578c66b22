// An experiment: who sees which layout is drawn by chance, who buys is counted, each user once.
//
//   node examples/experiment.js
//
// $ curl -s localhost:3000/pricing -H 'x-user-id: user_1'
// {"layout":"new"}
// $ curl -s -X POST localhost:3000/buy -H 'x-user-id: user_1'
// {"thanks":true}
// $ curl -s -X POST localhost:3000/buy -H 'x-user-id: user_1'
// {"thanks":true}
// $ curl -s localhost:3000/pricing -H 'x-user-id: user_4'
// {"layout":"old"}
// $ curl -s -X POST localhost:3000/buy -H 'x-user-id: user_3'
// {"thanks":true}
// $ curl -s localhost:3000/results
// {"control":{"units":1,"bought":0},"compact":{"units":1,"bought":1,"chance":…},"ignored":{"unexposed":1,"goals":0}}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory', admin: { authorize: () => 'demo' } })

await app.flags.admin.put('pricing_page', {
  enabled: true,
  variants: { control: { layout: 'old' }, compact: { layout: 'new' } },
  offVariant: 'control',
  serve: { split: { control: 50, compact: 50 } },
  experiment: {}
})

app.get('/pricing', async (req) => req.flags.getValue('pricing_page', { layout: 'old' })) // reading it exposes the user
app.post('/buy', async (req) => {
  req.flags.track('purchase', { value: 50 })
  return { thanks: true }
})
app.get('/results', async () => {
  const response = await app.inject('/admin/flags/pricing_page/experiment') // user_3 bought without having seen the page
  const { variants, ignored } = response.json()
  const rows = Object.entries(variants).map(([name, { units, goals: { purchase } }]) =>
    // How often chance alone would bring such a difference: far from little enough yet.
    [name, { units, bought: purchase?.rate, chance: purchase?.against?.rate.alwaysValid }])
  return { ...Object.fromEntries(rows), ignored }
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
