import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { AsyncLocalStorageTransactionContextPropagator, ErrorCode, NOOP_TRANSACTION_CONTEXT_PROPAGATOR, OpenFeature, ProviderEvents, ProviderStatus, type Client, type EvaluationContext, type EventDetails, type Hook, type JsonValue } from '@openfeature/server-sdk'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { ConversionMessage } from '../src/diagnostics.js'
import flags, { type Flag, type FlagsOptions } from '../src/index.js'
import { FlagsProvider } from '../src/openfeature.js'
import { MemoryStore } from '../src/store/memory.js'
import { FaultyStore } from './helpers/faulty-store.js'

const template = { showImages: true, title: 'Check out these pics!', imagesPerPage: 100 }
const ballmer = { email: 'ballmer@macrosoft.com' }

/** A flag of each kind that serves one variant to everyone. */
function plain (variants: Record<string, JsonValue>, serve: string): Flag {
  return { enabled: true, variants: variants as Record<string, string>, offVariant: Object.keys(variants)[0]!, serve }
}

function targeted (variants: Record<string, JsonValue>): Flag {
  return { ...plain(variants, 'zero'), rules: [{ when: { attribute: 'email', operator: 'eq', value: ballmer.email }, serve: 'zero' }] }
}

/** The flags that the scenarios of OpenFeature's specification speak of. */
const documents: Record<string, Flag> = {
  'boolean-flag': { enabled: true },
  'string-flag': plain({ greeting: 'hi', parting: 'bye' }, 'greeting'),
  'integer-flag': plain({ one: 1, ten: 10 }, 'ten'),
  'float-flag': plain({ tenth: 0.1, half: 0.5 }, 'half'),
  'object-flag': plain({ empty: {}, template }, 'template'),
  'list-flag': plain({ none: [], some: [1, 2] }, 'some'),
  'wrong-flag': plain({ one: 'uno', two: 'dos' }, 'one'),
  'boolean-zero-flag': plain({ zero: false, 'non-zero': true }, 'zero'),
  'string-zero-flag': plain({ zero: '', 'non-zero': 'str' }, 'zero'),
  'integer-zero-flag': plain({ zero: 0, 'non-zero': 1 }, 'zero'),
  'float-zero-flag': plain({ zero: 0.0, 'non-zero': 1.0 }, 'zero'),
  'object-zero-flag': plain({ zero: {}, 'non-zero': template }, 'zero'),
  'boolean-targeted-zero-flag': targeted({ zero: false, 'non-zero': true }),
  'string-targeted-zero-flag': targeted({ zero: '', 'non-zero': 'str' }),
  'integer-targeted-zero-flag': targeted({ zero: 0, 'non-zero': 1 }),
  'float-targeted-zero-flag': targeted({ zero: 0.0, 'non-zero': 1.0 }),
  'object-targeted-zero-flag': targeted({ zero: {}, 'non-zero': template }),
  'boolean-disabled-flag': { enabled: false },
  'string-disabled-flag': { ...plain({ parting: 'bye', greeting: 'hi' }, 'greeting'), enabled: false },
  'integer-disabled-flag': { ...plain({ one: 1, ten: 10 }, 'ten'), enabled: false },
  'float-disabled-flag': { ...plain({ tenth: 0.1, half: 0.5 }, 'half'), enabled: false },
  'object-disabled-flag': { ...plain({ empty: {}, template }, 'template'), enabled: false },
  'metadata-flag': { enabled: true, metadata: { string: '1.0.2', integer: 2, float: 0.1, boolean: true } },
  'context-aware': {
    ...plain({ external: 'EXTERNAL', internal: 'INTERNAL' }, 'external'),
    rules: [{
      serve: 'internal',
      when: {
        all: [
          { attribute: 'fn', operator: 'eq', value: 'Sulisław' }, { attribute: 'ln', operator: 'eq', value: 'Świętopełk' },
          { attribute: 'age', operator: 'eq', value: 29 }, { attribute: 'customer', operator: 'eq', value: false }
        ]
      }
    }]
  },
  'complex-targeted': {
    ...plain({ external: 'EXTERNAL', internal: 'INTERNAL' }, 'external'),
    rules: [{
      serve: 'internal',
      when: { all: [{ attribute: 'email', operator: 'eq', value: ballmer.email }, { attribute: 'age', operator: 'gt', value: 10 }, { not: { attribute: 'customer', operator: 'eq', value: true } }] }
    }]
  }
}

type Kind = 'boolean' | 'string' | 'integer' | 'float' | 'object'
const fallbacks: Record<Kind, JsonValue> = { boolean: false, string: 'bye', integer: 1, float: 0.1, object: { a: 1 } }
const kinds = Object.keys(fallbacks) as Kind[]

function details (client: Client, kind: Kind, key: string, fallback: JsonValue, context?: EvaluationContext) {
  switch (kind) {
    case 'boolean': return client.getBooleanDetails(key, fallback as boolean, context)
    case 'string': return client.getStringDetails(key, fallback as string, context)
    case 'object': return client.getObjectDetails(key, fallback, context)
    default: return client.getNumberDetails(key, fallback as number, context)
  }
}

let domains = 0

interface Options extends FlagsOptions { documents?: Record<string, Flag> }

/** An app with these flags, and a client of a domain of its own for the provider that answers by them. */
async function build (t: Test, { documents: given = documents, ...options }: Options = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', ...options })
  for (const [key, document] of Object.entries(given)) await app.flags.admin.put(key, document)
  const domain = `test-${++domains}`
  const client = OpenFeature.getClient(domain)
  const provider = new FlagsProvider(app.flags)
  t.teardown(() => provider.onClose())
  return { app, domain, client, provider, register: () => OpenFeature.setProviderAndWait(domain, provider) }
}

/** The same, ready; `said` are the events since. */
async function ready (t: Test, options?: Options) {
  const built = await build(t, options)
  await built.register()
  const said: Array<[ProviderEvents, EventDetails | undefined]> = []
  for (const event of Object.values(ProviderEvents)) {
    if (event !== ProviderEvents.Ready) built.client.addHandler(event, (details) => { said.push([event, details]) })
  }
  return { ...built, said }
}

/** Resolves with the client's next event of a kind. */
function next (client: Client, event: ProviderEvents): Promise<EventDetails | undefined> {
  return new Promise((resolve) => {
    const handler = (details?: EventDetails) => {
      client.removeHandler(event, handler)
      resolve(details)
    }
    client.addHandler(event, handler)
  })
}

const alive = setInterval(() => {}, 1000) // an app that does not listen keeps no process alive
t.teardown(async () => {
  clearInterval(alive)
  await OpenFeature.clearProviders()
})

t.test('each kind of flag is resolved with its value, variant and reason', async (t) => {
  const { client } = await ready(t)
  const cases: Array<[Kind, string, JsonValue, string]> = [
    ['boolean', 'boolean-flag', true, 'on'],
    ['string', 'string-flag', 'hi', 'greeting'],
    ['integer', 'integer-flag', 10, 'ten'],
    ['float', 'float-flag', 0.5, 'half'],
    ['object', 'object-flag', template, 'template']
  ]
  for (const [kind, key, value, variant] of cases) {
    const answer = await details(client, kind, key, fallbacks[kind])
    t.match(answer, { flagKey: key, variant, reason: 'STATIC' })
    t.same(answer.value, value)
    t.equal(answer.errorCode, undefined)
    t.equal(answer.errorMessage, undefined)
  }
  t.equal(await client.getBooleanValue('boolean-flag', false), true)
  t.equal(await client.getStringValue('string-flag', 'bye'), 'hi')
  t.equal(await client.getNumberValue('integer-flag', 1), 10)
  t.equal(await client.getNumberValue('float-flag', 0.1), 0.5)
  t.same(await client.getObjectValue('object-flag', null), template, 'an object has a default of null, too')
  t.same(await client.getObjectValue('list-flag', []), [1, 2], 'a list is a structure')
})

t.test('false, 0, an empty text and an empty object are values, and not their absence', async (t) => {
  const { client } = await ready(t)
  const zeros: Record<Kind, [value: JsonValue, fallback: JsonValue]> = { boolean: [false, true], string: ['', 'hi'], integer: [0, 1], float: [0, 0.1], object: [{}, { a: 1 }] }
  for (const kind of kinds) {
    const [value, fallback] = zeros[kind]
    const asked: Array<[key: string, reason: string, context?: EvaluationContext]> = [
      [`${kind}-zero-flag`, 'STATIC'],
      [`${kind}-targeted-zero-flag`, 'TARGETING_MATCH', ballmer],
      [`${kind}-targeted-zero-flag`, 'DEFAULT', { email: 'ballmer@none.com' }],
      [`${kind}-targeted-zero-flag`, 'DEFAULT', { email: null }],
      [`${kind}-targeted-zero-flag`, 'DEFAULT']
    ]
    for (const [key, reason, context] of asked) {
      const answer = await details(client, kind, key, fallback, context)
      t.same(answer.value, value, `${key} for ${JSON.stringify(context)}`)
      t.match(answer, { variant: 'zero', reason })
    }
  }
})

t.test('the context decides, in all its types', async (t) => {
  const { client } = await ready(t, {
    documents: {
      ...documents,
      dated: { enabled: true, serve: 'off', rules: [{ when: { attribute: 'joined', operator: 'before', value: '2026-01-01T00:00:00Z' }, serve: 'on' }] },
      nested: { enabled: true, serve: 'off', rules: [{ when: { attribute: 'company.plan.name', operator: 'in', value: ['pro'] }, serve: 'on' }] },
      listed: { enabled: true, serve: 'off', targets: [{ users: ['user-1'] }, { groups: ['beta'] }] }
    }
  })
  const person = { fn: 'Sulisław', ln: 'Świętopełk', age: 29, customer: false }
  t.equal(await client.getStringValue('context-aware', 'EXTERNAL', person), 'INTERNAL')
  t.equal(await client.getStringValue('context-aware', 'EXTERNAL', {}), 'EXTERNAL')
  t.match(await client.getStringDetails('complex-targeted', 'default', { ...ballmer, role: 'admin', age: 65, customer: false }), { value: 'INTERNAL', reason: 'TARGETING_MATCH' })
  t.equal(await client.getBooleanValue('dated', false, { joined: new Date('2025-06-01') }), true)
  t.equal(await client.getBooleanValue('dated', true, { joined: new Date('2026-06-01') }), false)
  t.equal(await client.getBooleanValue('dated', true, { joined: new Date(NaN) }), false)
  t.equal(await client.getBooleanValue('nested', false, { company: { plan: { name: 'pro' } } }), true)
  t.equal(await client.getBooleanValue('nested', true, { company: { plan: 'pro' } }), false)
  t.match(await client.getBooleanDetails('listed', false, { targetingKey: 'user-1' }), { value: true, flagMetadata: { cause: 'target-user' } })
  t.match(await client.getBooleanDetails('listed', false, { targetingKey: 'user-2', groups: ['beta'] }), { value: true, flagMetadata: { cause: 'target-group' } })
})

t.test('a context that is given stays as it was, and details cannot be changed', async (t) => {
  const { client } = await ready(t)
  const context = { targetingKey: 'user-1', groups: ['beta'], company: { plan: 'pro' }, joined: new Date(0) }
  const before = structuredClone(context)
  const { flagMetadata, value } = await client.getObjectDetails('object-flag', {}, context)
  t.same(context, before)
  t.ok(Object.isFrozen(flagMetadata))
  t.ok(Object.isFrozen(value), 'it is what the next caller is given')
})

t.test('an unknown flag gives the default and FLAG_NOT_FOUND', async (t) => {
  const { client } = await ready(t)
  for (const kind of kinds) {
    for (const key of ['missing-flag', '__proto__', 'constructor', '']) {
      t.match(await details(client, kind, key, fallbacks[kind]), { flagKey: key, value: fallbacks[kind], reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND', variant: undefined })
    }
  }
})

t.test('a flag of another type gives the default and TYPE_MISMATCH', async (t) => {
  const { client, provider } = await ready(t)
  const wrong: Array<[Kind, string]> = [
    ['boolean', 'wrong-flag'], ['boolean', 'string-flag'], ['string', 'boolean-flag'], ['integer', 'wrong-flag'], ['integer', 'boolean-flag'],
    ['float', 'boolean-flag'], ['float', 'string-flag'], ['object', 'boolean-flag'], ['object', 'list-flag']
  ]
  for (const [kind, key] of wrong) {
    t.match(await details(client, kind, key, fallbacks[kind]), { value: fallbacks[kind], reason: 'ERROR', errorCode: 'TYPE_MISMATCH', errorMessage: /type/ }, `${key} as ${kind}`)
  }
  t.match(await client.getObjectDetails('string-flag', null), { value: null, errorCode: 'TYPE_MISMATCH', errorMessage: /string/ })
  t.match(await client.getObjectDetails('missing-flag', null), { value: null, errorCode: 'FLAG_NOT_FOUND' })
  t.match(await client.getObjectDetails('object-flag', []), { value: [], errorCode: 'TYPE_MISMATCH' })
  const untyped = provider as unknown as Record<string, (key: string) => Promise<{ errorCode?: string }>>
  t.equal((await untyped.resolveBooleanEvaluation!('string-flag')).errorCode, 'TYPE_MISMATCH', 'also for a caller that gives no default')
  t.equal((await untyped.resolveObjectEvaluation!('string-flag')).errorCode, 'TYPE_MISMATCH')
})

t.test('a disabled flag serves its off variant, and says DISABLED', async (t) => {
  const { client } = await ready(t)
  const off: Record<Kind, JsonValue> = { ...fallbacks, object: {} }
  for (const kind of kinds) {
    const answer = await details(client, kind, `${kind}-disabled-flag`, fallbacks[kind])
    t.same(answer.value, off[kind])
    t.match(answer, { reason: 'DISABLED', flagMetadata: { cause: 'flag-disabled' } })
    t.equal(answer.errorCode, undefined)
  }
})

t.test('flag metadata is the flag\'s own, and where the answer comes from', async (t) => {
  const { client } = await ready(t)
  const { flagMetadata: { version, ...metadata } } = await client.getBooleanDetails('metadata-flag', true)
  t.same(metadata, { string: '1.0.2', integer: 2, float: 0.1, boolean: true, cause: 'default', environment: 'production' })
  t.type(version, 'number')
  for (const [kind, key] of [['boolean', 'boolean-flag'], ['integer', 'integer-flag'], ['float', 'float-flag'], ['string', 'string-flag']] as const) {
    t.same(Object.keys((await details(client, kind, key, fallbacks[kind])).flagMetadata).sort(), ['cause', 'environment', 'version'], 'nothing of its own')
  }
  t.same((await client.getBooleanDetails('missing-flag', true)).flagMetadata, {})
})

t.test('hooks are given what was resolved', async (t) => {
  const { client } = await ready(t)
  const called: unknown[] = []
  client.addHooks({
    before: ({ flagKey }) => { called.push(['before', flagKey]) },
    after: (_, { flagKey, value, variant, reason, errorCode }) => { called.push(['after', { flagKey, value, variant, reason, errorCode }]) },
    error: (_, error) => { called.push(['error', (error as Error & { code: string }).code]) },
    finally: (_, { flagKey, value, variant, reason, errorCode }) => { called.push(['finally', { flagKey, value, variant, reason, errorCode }]) }
  })
  await client.getBooleanDetails('boolean-flag', false)
  const answer = { flagKey: 'boolean-flag', value: true, variant: 'on', reason: 'STATIC', errorCode: undefined }
  t.same(called.splice(0), [['before', 'boolean-flag'], ['after', answer], ['finally', answer]])
  await client.getStringDetails('missing-flag', 'uh-oh')
  t.same(called.splice(0), [['before', 'missing-flag'], ['error', 'FLAG_NOT_FOUND'], ['finally', { flagKey: 'missing-flag', value: 'uh-oh', variant: undefined, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' }]])
  await client.getBooleanDetails('wrong-flag', false)
  t.same(called.splice(0), [['before', 'wrong-flag'], ['error', 'TYPE_MISMATCH'], ['finally', { flagKey: 'wrong-flag', value: false, variant: undefined, reason: 'ERROR', errorCode: 'TYPE_MISMATCH' }]])
})

t.test('hooks of one evaluation run in their order', async (t) => {
  const { client } = await ready(t)
  const called: string[] = []
  const hook = (name: string): Hook => ({ before: () => { called.push(`before ${name}`) }, after: () => { called.push(`after ${name}`) } })
  await client.getBooleanDetails('boolean-flag', false, {}, { hooks: [hook('first'), hook('second')] })
  t.same(called, ['before first', 'before second', 'after second', 'after first'])
})

t.test('the context is that of the API, the transaction, the client, the call and the hooks, the later winning', async (t) => {
  const { client } = await ready(t, { documents: { flag: { enabled: true, serve: 'off', rules: [{ when: { attribute: 'key', operator: 'exists' }, serve: 'on' }] } } })
  let seen: unknown
  const note = (message: unknown) => { seen = (message as ConversionMessage).context }
  subscribe('fastify-flags:evaluation', note)
  OpenFeature.setTransactionContextPropagator(new AsyncLocalStorageTransactionContextPropagator())
  t.teardown(() => {
    unsubscribe('fastify-flags:evaluation', note)
    OpenFeature.setContext({})
    OpenFeature.setTransactionContextPropagator(NOOP_TRANSACTION_CONTEXT_PROPAGATOR)
  })
  const levels = ['API', 'Transaction', 'Client', 'Invocation', 'Before Hooks']
  /** Evaluates with what each level adds, and gives what the flag was evaluated with. */
  const evaluate = async (added: Record<string, EvaluationContext | undefined>) => {
    OpenFeature.setContext(added.API ?? {})
    client.setContext(added.Client ?? {})
    client.clearHooks().addHooks({ before: () => added['Before Hooks'] })
    const answer = await new Promise((resolve) => OpenFeature.setTransactionContext(added.Transaction ?? {}, () => { resolve(client.getBooleanValue('flag', false, added.Invocation)) }))
    return { answer, context: seen }
  }

  for (const level of levels) {
    t.same(await evaluate({ [level]: { key: 'value' } }), { answer: true, context: { key: 'value' } }, `only ${level}`)
  }
  const { context } = await evaluate(Object.fromEntries(levels.map((level) => [level, { [level]: `${level} value` }])))
  t.same(context, Object.fromEntries(levels.map((level) => [level, `${level} value`])), 'each adds its own')
  for (const [index, level] of levels.entries()) {
    const upTo = Object.fromEntries(levels.slice(0, index + 1).map((level) => [level, { key: level }]))
    t.same(await evaluate(upTo), { answer: true, context: { key: level } }, `${level} wins over all before it`)
  }
})

t.test('a change is told with every flag whose answer it may change', async (t) => {
  const inSegment = (segment: string): Flag => ({ enabled: true, serve: 'off', rules: [{ when: { segment }, serve: 'on' }] })
  const needing = (flag: string): Flag => ({ enabled: true, prerequisites: [{ flag }], serve: 'on' })
  const { app, client, domain } = await ready(t, { documents: { base: { enabled: false }, other: { enabled: true } } })
  const { admin } = app.flags
  await admin.putSegment('eu', { when: { attribute: 'country', operator: 'in', value: ['de'] } })
  await admin.putSegment('near', { when: { any: [{ segment: 'eu' }, { attribute: 'country', operator: 'eq', value: 'ch' }] } })
  await admin.put('needs-base', needing('base'))
  await admin.put('needs-it-in-turn', needing('needs-base'))
  await admin.put('in-eu', inSegment('eu'))
  await admin.put('near-eu', inSegment('near'))
  const changedBy = async (change: () => Promise<unknown>) => {
    const told = next(client, ProviderEvents.ConfigurationChanged)
    await change()
    const { flagsChanged, providerName, domain: of } = await told as EventDetails<ProviderEvents.ConfigurationChanged>
    t.same([providerName, of], ['fastify-flags', domain])
    return flagsChanged?.sort()
  }
  t.same(await changedBy(() => admin.put('other', { enabled: false })), ['other'])
  t.same(await changedBy(() => admin.put('base', { enabled: true })), ['base', 'needs-base', 'needs-it-in-turn'])
  t.same(await changedBy(() => admin.putSegment('eu', { when: { attribute: 'country', operator: 'in', value: ['de', 'fr'] } })), ['in-eu', 'near-eu'])
  t.same(await changedBy(() => admin.delete('other')), ['other'])
  t.match(await client.getBooleanDetails('needs-it-in-turn', false), { value: true }, 'what is told is already in place')
})

t.test('a stage that begins by the clock is told as a change, unless it is another environment\'s', async (t) => {
  const { app, client, said } = await ready(t, { documents: {} })
  const isOn = () => client.getBooleanValue('staged', true, { targetingKey: 'user-1' })
  for (let ahead = 200; await isOn(); ahead *= 2) { // again, when it began before it was there
    const serve = { stages: [{ percentage: 0 }, { percentage: 100, at: new Date(Date.now() + ahead).toISOString() }] }
    await app.flags.admin.put('elsewhere', { environments: { staging: { enabled: true, serve }, production: { enabled: false } } })
    await app.flags.admin.put('staged', { enabled: true, serve })
  }
  said.length = 0
  t.match(await next(client, ProviderEvents.ConfigurationChanged), { flagsChanged: ['staged'] })
  t.equal(await isOn(), true)
  t.equal(said.length, 1)
})

t.test('a provider whose store does not answer is not ready, then in error, and ready when it answers', async (t) => {
  const store = new FaultyStore(new MemoryStore())
  store.onRead = async () => { throw new Error('no route to host') }
  const { app, client, provider, register } = await build(t, { store, staleAfter: 300, documents: {} })
  const registered = register().then(() => undefined, (error: Error & { code?: string }) => error)
  t.equal(client.providerStatus, ProviderStatus.NOT_READY)
  for (const kind of kinds) {
    t.match(await details(client, kind, `${kind}-flag`, fallbacks[kind]), { value: fallbacks[kind], reason: 'ERROR', errorCode: 'PROVIDER_NOT_READY' })
  }
  t.match(await provider.resolveBooleanEvaluation('boolean-flag', true, {}), { value: true, errorCode: ErrorCode.PROVIDER_NOT_READY }, 'the provider itself says so, too')
  const error = next(client, ProviderEvents.Error)
  t.match(await registered, { code: 'PROVIDER_NOT_READY', message: /no route to host/ })
  t.match(await error, { message: /no flags have been loaded yet/ })
  t.equal(client.providerStatus, ProviderStatus.ERROR)
  t.match(await client.getBooleanDetails('boolean-flag', true), { value: true, errorCode: 'PROVIDER_NOT_READY' })

  const recovered = next(client, ProviderEvents.Ready)
  store.onRead = undefined
  await recovered
  t.equal(client.providerStatus, ProviderStatus.READY)
  t.equal(app.flags.status, 'READY')
  t.equal((await client.getBooleanDetails('boolean-flag', true)).errorCode, 'FLAG_NOT_FOUND')
})

t.test('a provider is initialised as soon as the first flags are there', async (t) => {
  const store = new FaultyStore(new MemoryStore())
  store.onRead = async () => { throw new Error('not yet') }
  const { client, register } = await build(t, { store, staleAfter: 300, documents: {} })
  let readies = 0
  client.addHandler(ProviderEvents.Ready, () => { readies++ })
  readies = 0 // the SDK's own provider, if it was there
  const registered = register()
  store.onRead = undefined
  await registered
  t.equal(client.providerStatus, ProviderStatus.READY)
  t.equal(readies, 1)
})

t.test('a store that falls silent makes the provider STALE, and its answer READY; both go on answering', async (t) => {
  const store = new FaultyStore(new MemoryStore())
  const { client, said } = await ready(t, { store, staleAfter: 300 })
  store.onRead = async () => { throw new Error('no route to host') }
  // On a busy machine it may have been STALE for a moment before.
  await new Promise<void>((resolve) => client.addHandler(ProviderEvents.Stale, (details) => { if (details?.message?.includes('no route to host')) resolve() }))
  t.equal(client.providerStatus, ProviderStatus.STALE)
  t.match(await client.getStringDetails('string-flag', 'bye'), { value: 'hi', reason: 'STATIC' })
  const recovered = next(client, ProviderEvents.Ready)
  store.onRead = undefined
  await recovered
  t.equal(client.providerStatus, ProviderStatus.READY)
  t.same(said.map(([event]) => event).filter((event) => event !== ProviderEvents.Stale), [], 'neither ERROR nor a change')
})

t.test('flags of bootstrap are served STALE from the start', async (t) => {
  const store = new FaultyStore(new MemoryStore())
  store.onRead = async () => { throw new Error('no route to host') }
  const { client, register } = await build(t, { store, documents: {}, bootstrap: { flags: { 'boolean-flag': { enabled: true } } } })
  await register()
  t.equal(client.providerStatus, ProviderStatus.STALE)
  t.match(await client.getBooleanDetails('boolean-flag', false), { value: true, reason: 'STATIC' })
})

t.test('closing a provider ends its events and not the app\'s flags, twice as well as once, and it may begin anew', async (t) => {
  const { app, client, provider, said } = await ready(t)
  await provider.onClose()
  await provider.onClose()
  await app.flags.admin.put('boolean-flag', { enabled: false })
  t.same(said, [])
  t.equal(app.flags.for().isEnabled('boolean-flag'), false)
  await provider.initialize()
  await provider.initialize()
  await app.flags.admin.put('boolean-flag', { enabled: true })
  t.match(said, [[ProviderEvents.ConfigurationChanged, { flagsChanged: ['boolean-flag'] }]], 'once, though begun twice')
  t.equal(await client.getBooleanValue('boolean-flag', false), true)
})

t.test('closing ends an initialisation that is under way', async (t) => {
  const store = new FaultyStore(new MemoryStore())
  store.onRead = store.hang
  const { provider } = await build(t, { store, documents: {} })
  const initialised = provider.initialize()
  await provider.onClose()
  await t.rejects(initialised, { code: 'PROVIDER_NOT_READY', message: /closed/ })
})

t.test('tracking is a conversion of the merged context', async (t) => {
  const { client } = await ready(t)
  const messages: ConversionMessage[] = []
  const note = (message: unknown) => { messages.push(message as ConversionMessage) }
  subscribe('fastify-flags:conversion', note)
  t.teardown(() => { unsubscribe('fastify-flags:conversion', note) })
  client.setContext({ plan: 'pro' })
  client.track('purchase', { targetingKey: 'user-1' }, { value: 49.9, currency: 'EUR' })
  client.track('visit')
  client.track('purchase', {}, { value: NaN })
  t.same(messages.map(({ goal, value, context }) => ({ goal, value, context })), [
    { goal: 'purchase', value: 49.9, context: { plan: 'pro', targetingKey: 'user-1' } },
    { goal: 'visit', value: undefined, context: { plan: 'pro' } },
    { goal: 'purchase', value: undefined, context: { plan: 'pro' } }
  ])
})

t.test('without the app\'s flags the provider says what is missing', async (t) => {
  t.throws(() => new FlagsProvider(undefined as never), { code: 'FST_FLAGS_INVALID_OPTION', message: /app\.flags.*awaited/ })
})
