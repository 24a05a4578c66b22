import Fastify from 'fastify'
import flags, { type Flag } from '../../src/index.js'
import type { Guard } from '../../src/model/guard.js'

/*
 * An app that reads five flags, each half rolled out, in a process of its own: tells where it listens, and answers a message with
 * the CPU time it has used. Called with `counted`, each of the flags has an experiment and a guard as well.
 */

const stages = [{ percentage: 50 }, { percentage: 100 }]
const guard: Guard = { errors: {}, latency: { overMs: 500 } }
const flag: Flag = process.argv[2] === 'counted' ? { enabled: true, serve: { stages, guard }, experiment: {} } : { enabled: true, serve: { stages } }

const app = Fastify()
await app.register(flags, { store: 'memory' })
const keys = ['one', 'two', 'three', 'four', 'five']
for (const key of keys) await app.flags.admin.put(key, flag)
app.get('/', async ({ flags }) => ({ on: keys.map((key) => flags.isEnabled(key)) }))
const address = await app.listen({ port: 0, host: '127.0.0.1' })
process.on('message', () => process.send?.(process.cpuUsage()))
process.once('disconnect', () => { void app.close() })
process.send?.(address)
