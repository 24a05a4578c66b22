import Fastify, { type FastifyRequest } from 'fastify'
import flags, { type Flag } from '../../src/index.js'
import type { Guard } from '../../src/model/guard.js'

/*
 * Two apps in a process of their own, whose one handler reads five flags, each half rolled out; in the first, each of the flags has
 * an experiment and a guard as well. Tells where they listen, and answers a message with the CPU time it has used.
 */

const stages = [{ percentage: 50 }, { percentage: 100 }]
const guard: Guard = { errors: {}, latency: { overMs: 500 } }
const uncounted: Flag = { enabled: true, serve: { stages } }
const counted: Flag = { enabled: true, serve: { stages, guard }, experiment: {} }

const keys = ['one', 'two', 'three', 'four', 'five']
const handle = async ({ flags }: FastifyRequest) => ({ on: keys.map((key) => flags.isEnabled(key)) })

async function listen (flag: Flag): Promise<string> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  for (const key of keys) await app.flags.admin.put(key, flag)
  app.get('/', handle)
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

const addresses = [await listen(counted), await listen(uncounted)]
process.on('message', () => process.send?.(process.cpuUsage()))
process.once('disconnect', () => process.exit())
process.send?.(addresses)
