// A flag whose variants carry values: settings that change without a deployment, and differ between people.
//
//   node examples/remote-config.js
//
// $ curl -s localhost:3000/limits
// {"uploadMb":10,"parallel":2}
// $ curl -s localhost:3000/limits -H 'x-plan: enterprise'
// {"uploadMb":500,"parallel":8}
// $ curl -s localhost:3000/banner
// {"text":"Welcome!","variant":"plain"}
// $ curl -s localhost:3000/missing
// {"value":"the default of the code","reason":"ERROR","errorCode":"FLAG_NOT_FOUND"}
import Fastify from 'fastify'
import flags from 'fastify-flags'

const app = Fastify({ logger: true })
await app.register(flags, { store: 'memory', headers: { plan: 'x-plan' } })

// The default is what the code does when nobody has said anything, and the type that the value must have.
app.get('/limits', async (req) => req.flags.getValue('upload_limits', { uploadMb: 1, parallel: 1 }))

app.get('/banner', async (req) => {
  const { value, variant } = req.flags.getDetails('banner_text', '')
  return { text: value, variant }
})

app.get('/missing', async (req) => {
  const { value, reason, errorCode } = req.flags.getDetails('nobody_made_this', 'the default of the code')
  return { value, reason, errorCode }
})

await app.flags.admin.put('upload_limits', {
  enabled: true,
  variants: { standard: { uploadMb: 10, parallel: 2 }, large: { uploadMb: 500, parallel: 8 } },
  offVariant: 'standard',
  rules: [{ when: { attribute: 'plan', operator: 'eq', value: 'enterprise' }, serve: 'large' }],
  serve: 'standard'
})
await app.flags.admin.put('banner_text', {
  enabled: true,
  variants: { plain: 'Welcome!', festive: 'Happy holidays!' },
  offVariant: 'plain',
  serve: 'plain'
})
await app.listen({ port: Number(process.env.PORT ?? 3000) })
