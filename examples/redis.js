// Two processes of one app over one Redis: what is changed through the first, the second answers a moment later.
//
//   REDIS_URL=redis://localhost:6379 node examples/redis.js
//
// $ curl -s localhost:3001/search
// {"engine":"classic"}
// $ curl -s -X PUT localhost:3000/admin/flags/new_search -H 'Authorization: Bearer not-a-secret-example' -H 'Content-Type: application/json' -d '{"enabled":true}'
// {"key":"new_search","enabled":true,"version":1,"createdAt":"…","updatedAt":"…","updatedBy":"alice"}
// $ curl -s localhost:3001/search
// {"engine":"new"}
import { fork } from 'node:child_process'
import redis from '@fastify/redis'
import Fastify from 'fastify'
import flags from 'fastify-flags'

if (process.send === undefined) {
  const ports = [process.env.PORT ?? '3000', process.env.SECOND_PORT ?? '3001']
  const processes = ports.map((port) => fork(import.meta.filename, { env: { ...process.env, PORT: port } }))
  process.once('SIGTERM', () => processes.forEach((child) => child.kill()))
} else {
  const app = Fastify({ logger: true })
  await app.register(redis, { url: process.env.REDIS_URL ?? 'redis://localhost:6379' })
  await app.register(flags, {
    redis: app.redis, // or a URL, or connection options: the app's client is duplicated, never used itself
    namespace: process.env.NAMESPACE ?? 'redis-example',
    admin: { prefix: '/admin', tokens: { alice: 'not-a-secret-example' } }
  })
  app.get('/search', async (req) => ({ engine: req.flags.isEnabled('new_search') ? 'new' : 'classic' }))
  await app.listen({ port: Number(process.env.PORT) })
  process.once('SIGTERM', async () => {
    await app.close()
    process.disconnect()
  })
}
