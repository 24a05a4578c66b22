import { Replica } from '../../src/replica.js'
import { RedisStore } from '../../src/store/redis.js'

/** One process of an app: tells when it serves each revision. `argv` is Redis's URL and the namespace. */
const [url, namespace] = process.argv.slice(2)
const replica = new Replica({ store: new RedisStore({ redis: url!, namespace: namespace! }) })
replica.on('change', ({ revision }) => process.send?.({ revision, at: performance.timeOrigin + performance.now() }))
await replica.start(60_000)
process.send?.('ready')
process.once('disconnect', () => { void replica.close() })
