import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { ConversionMessage, EvaluationMessage, evaluations, ExposureMessage } from '../src/diagnostics.js'
import { Flags } from '../src/flags.js'
import type { Flag } from '../src/model/flag.js'
import { Replica } from '../src/replica.js'
import { MemoryStore } from '../src/store/memory.js'
import { memoryOf } from './helpers/memory.js'

const documents: Record<string, Flag> = {
  on: { enabled: true, metadata: { ticket: 'PAY-12' } },
  size: { enabled: true, variants: { small: 1, large: 10 }, offVariant: 'small', serve: 'large' },
  broken: { enabled: true, variants: ['a'], offVariant: 'gone', serve: 'gone' }
}

async function build (t: Test, who: unknown = { targetingKey: 'u1', plan: 'pro' }) {
  const replica = new Replica({ store: new MemoryStore(memoryOf(documents)) })
  t.teardown(() => replica.close())
  await replica.start()
  return new Flags(replica, 'production', who)
}

function listen (t: { teardown (end: () => void): void }, channel: string) {
  const messages: unknown[] = []
  const note = (message: unknown) => messages.push(message)
  subscribe(channel, note)
  t.teardown(() => { unsubscribe(channel, note) })
  return messages
}

t.test('each answer is told with its variant, reason, metadata and context', async (t) => {
  const messages = listen(t, 'fastify-flags:evaluation') as EvaluationMessage[]
  const flags = await build(t)
  flags.isEnabled('on')
  flags.getVariant('size')
  flags.getValue('size', 0)
  flags.getDetails('size', 'text')
  flags.isEnabled('nothing', true)
  flags.getValue('broken', 5)
  t.same(messages.map(({ key, value, variant, reason, errorCode }) => [key, value, variant, reason, errorCode]), [
    ['on', true, 'on', 'STATIC', undefined],
    ['size', 10, 'large', 'STATIC', undefined],
    ['size', 10, 'large', 'STATIC', undefined],
    ['size', 'text', undefined, 'ERROR', 'TYPE_MISMATCH'],
    ['broken', 5, undefined, 'ERROR', 'GENERAL']
  ])
  t.match(messages[0], { environment: 'production', flagMetadata: { cause: 'default', ticket: 'PAY-12', version: Number } })
  t.equal(messages[0]!.context, flags.context)
})

t.test('getAll tells nothing', async (t) => {
  const messages = listen(t, 'fastify-flags:evaluation')
  const flags = await build(t)
  flags.getAll()
  t.same(messages, [])
})

t.test('telling asks for no context that the flag did not need', async (t) => {
  listen(t, 'fastify-flags:evaluation')
  let calls = 0
  const flags = await build(t, () => { calls++ })
  flags.isEnabled('on')
  t.equal(calls, 0)
})

t.test('exposures are told for variants that were really served', async (t) => {
  const messages = listen(t, 'fastify-flags:exposure') as ExposureMessage[]
  const flags = await build(t)
  flags.getValue('size', 0)
  t.same(messages, [])
  flags.getValue('size', 0, { expose: true })
  flags.expose('on')
  flags.getValue('size', 'another type', { expose: true })
  flags.expose('nothing')
  flags.expose('broken')
  t.same(messages.map(({ key, variant, context }) => [key, variant, context.targetingKey]), [['size', 'large', 'u1'], ['on', 'on', 'u1']])
  t.match(messages[0], { reason: 'STATIC', environment: 'production', flagMetadata: { version: Number } })
})

t.test('conversions are told with a finite value, or without one', async (t) => {
  const messages = listen(t, 'fastify-flags:conversion') as ConversionMessage[]
  const flags = await build(t)
  flags.track('purchase', { value: 49.9 })
  flags.track('purchase')
  flags.track('purchase', { value: NaN })
  flags.track('purchase', { value: '49' as unknown as number })
  flags.track('')
  flags.track(5 as unknown as string)
  t.same(messages.map(({ goal, value, context }) => [goal, value, context.targetingKey]), [['purchase', 49.9, 'u1'], ['purchase', undefined, 'u1'], ['purchase', undefined, 'u1'], ['purchase', undefined, 'u1']])
})

t.test('nobody is told anything while nobody listens', async (t) => {
  t.equal(evaluations.hasSubscribers, false)
})

t.test('a subscriber that throws changes no answer', async (t) => {
  // In a process of its own: what a subscriber throws becomes an uncaught exception, as with every diagnostics channel.
  const script = `
    import { subscribe } from 'node:diagnostics_channel'
    import { Flags } from '${new URL('../src/flags.js', import.meta.url)}'
    import { Replica } from '${new URL('../src/replica.js', import.meta.url)}'
    import { MemoryStore } from '${new URL('../src/store/memory.js', import.meta.url)}'
    const flags = new Flags(new Replica({ store: new MemoryStore(), bootstrap: { flags: { on: { enabled: true } } } }), 'production', 'u1')
    for (const name of ['evaluation', 'exposure', 'conversion']) subscribe('fastify-flags:' + name, () => { throw new Error(name) })
    const thrown = []
    process.on('uncaughtException', ({ message }) => { thrown.push(message) })
    const answers = [flags.isEnabled('on'), flags.getValue('on', false, { expose: true }), flags.track('goal')]
    setImmediate(() => console.log(JSON.stringify({ answers, thrown })))`
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, '--input-type=module', '-e', script])
  t.same(JSON.parse(stdout), { answers: [true, true, null], thrown: ['evaluation', 'evaluation', 'exposure', 'conversion'] })
})
