import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { EvaluationMessage } from '../../src/diagnostics.js'
import flags from '../../src/index.js'
import { logs } from '../helpers/logs.js'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Megabytes that are no garbage. RSS is more than that by what V8 has not given back yet, which differs from run to run. */
function kept (): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1024 / 1024
}

async function build (t: Test) {
  const { stream, lines } = logs()
  const app: FastifyInstance = Fastify({ logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', evaluation: { identity: 'caller' } })
  await app.flags.admin.putSegment('eu', { when: { attribute: 'region', operator: 'eq', value: 'eu' } })
  await app.flags.admin.put('half', { enabled: true, serve: { percentage: 50 } })
  await app.flags.admin.put('rule', { enabled: true, serve: 'off', prerequisites: [{ flag: 'half' }], rules: [{ when: { any: [{ segment: 'eu' }, { attribute: 'plan', operator: 'matches', value: '^p[a-z]+$' }] }, serve: 'on' }] })
  await app.flags.admin.put('shares', { enabled: true, variants: ['a', 'b', 'c'], serve: { split: { a: 1, b: 1, c: 1 } } })
  app.get('/', async (request) => [request.flags.isEnabled('half'), request.flags.getVariant('shares')])
  return { app, lines }
}

t.test('row 19: a million users and a hundred thousand unknown keys take less than 64 MB', { timeout: 240_000 }, async (t) => {
  const { app, lines } = await build(t)
  const users = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) {
      const subject = app.flags.for({ targetingKey: `user-${i}`, groups: [`group-${i}`], region: i % 2 === 0 ? 'eu' : `region-${i}`, plan: `pro${i}` })
      subject.isEnabled('half')
      subject.getVariant('shares')
      subject.getValue('rule', false)
      if (i % 10 === 0) {
        subject.isEnabled(`unknown-${i}`)
        subject.getDetails(`unknown-${i}-${'x'.repeat(500)}`, 1)
        subject.expose(`unknown-${i}`)
        app.flags.for(`user-${i}`, undefined, { environment: `environment-${i}` }).isEnabled('half')
      }
    }
  }
  const asked = async (from: number, count: number) => {
    for (let i = from; i < from + count; i += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, j) => {
        const user = `user-${i + j}`
        const header = { 'x-user-id': user, 'x-user-groups': `${user},group-${i + j}`, 'x-region': user }
        return j < 5 ? app.inject({ url: '/', headers: header }) : app.inject(j < 8 ? `/flags/half/evaluate?user=${user}&environment=env-${i + j}&attribute-${i}=${user}` : { url: `/flags/unknown-${user}/evaluate`, headers: header })
      }))
      await turn() // inject() alone never lets the event loop turn, without which nothing is freed
    }
  }
  users(0, 100_000)
  await asked(0, 10_000)
  const before = kept()
  users(100_000, 1_000_000)
  await asked(10_000, 30_000)
  const grown = kept() - before
  t.comment(`${before.toFixed(0)} MB, grown by ${grown.toFixed(1)} MB; RSS ${(process.memoryUsage().rss / 1024 / 1024).toFixed(0)} MB`)
  t.ok(grown < 64, `grown by ${grown.toFixed(1)} MB`)
  t.ok(lines().length < 10, 'nor is the log filled')
})

t.test('row 19: diagnostics carry flags that exist only, whatever keys are asked for', async (t) => {
  const { app } = await build(t)
  const told = new Set<string>()
  const channels = ['evaluation', 'exposure']
  const note = (message: unknown) => { told.add((message as EvaluationMessage).key) }
  for (const name of channels) subscribe(`fastify-flags:${name}`, note)
  t.teardown(() => { for (const name of channels) unsubscribe(`fastify-flags:${name}`, note) })
  for (let i = 0; i < 100_000; i++) {
    const subject = app.flags.for(`user-${i}`)
    subject.isEnabled(`unknown-${i}`)
    subject.getVariant(`unknown-${i}`)
    subject.getValue(`unknown-${i}`, true, { expose: true })
    subject.getDetails(`unknown-${i}`, true)
    subject.expose(`unknown-${i}`)
  }
  for (const key of ['unknown', '__proto__', 'constructor', 'toString']) {
    app.flags.for('u').isEnabled(key)
    await app.inject(`/flags/${key}/evaluate?user=u`)
    await app.inject({ method: 'POST', url: `/flags/${key}/evaluate`, payload: { context: { targetingKey: 'u' } } })
  }
  t.same([...told], [])
  app.flags.for('u').getValue('half', true, { expose: true })
  await app.inject('/flags/shares/evaluate?user=u')
  t.same([...told].sort(), ['half', 'shares'])
})
