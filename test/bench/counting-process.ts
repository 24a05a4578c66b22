import Fastify, { type FastifyRequest } from 'fastify'
import flags, { type Flag } from '../../src/index.js'
import type { Guard } from '../../src/model/guard.js'

/*
 * Two apps in a process of their own, whose one handler reads five flags, each half rolled out. In one of them flags are counted, by
 * experiments and guards: `all` of them by both, or `some`: two by an experiment, one by a guard. Tells where they listen, that one
 * first, and answers a message with the CPU time it has used. Called with `later`, that one is made second: which is first makes a
 * difference of its own.
 */

const [which, order] = process.argv.slice(2)
const stages = [{ percentage: 50 }, { percentage: 100 }]
const guard: Guard = { errors: {}, latency: { overMs: 500 } }
const uncounted: Flag = { enabled: true, serve: { stages } }
const onTrial: Flag = { ...uncounted, experiment: {} }
const guarded: Flag = { enabled: true, serve: { stages, guard } }
const both: Flag = { ...guarded, experiment: {} }

const keys = ['one', 'two', 'three', 'four', 'five'] as const
const flagsOf = {
  counted: which === 'all' ? [both, both, both, both, both] : [onTrial, uncounted, guarded, uncounted, onTrial],
  uncounted: [uncounted, uncounted, uncounted, uncounted, uncounted]
}
const handle = async ({ flags }: FastifyRequest) => ({ on: keys.map((key) => flags.isEnabled(key) ? 1 : 0) }) // answers of one length

async function listen (kind: keyof typeof flagsOf): Promise<string> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  for (const [i, key] of keys.entries()) await app.flags.admin.put(key, flagsOf[kind][i]!)
  app.get('/', handle)
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

const addresses: Partial<Record<keyof typeof flagsOf, string>> = {}
for (const kind of order === 'later' ? ['uncounted', 'counted'] as const : ['counted', 'uncounted'] as const) addresses[kind] = await listen(kind)
process.on('message', () => process.send?.(process.cpuUsage()))
process.once('disconnect', () => process.exit())
process.send?.([addresses.counted, addresses.uncounted])
