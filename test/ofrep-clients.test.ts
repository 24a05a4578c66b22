import { EventEmitter, once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { OFREPProvider } from '@openfeature/ofrep-provider'
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider'
import { OpenFeature } from '@openfeature/server-sdk'
import { OpenFeature as WebOpenFeature, ProviderEvents as WebEvents } from '@openfeature/web-sdk'
import { EventSource } from 'eventsource'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import flags, { Memory, MemoryStore, type FlagsOptions } from '../src/index.js'
import { openStreamTokens } from '../src/routes/ofrep/stream-tokens.js'
import { EventStreams } from '../src/routes/ofrep/streams.js'
import { readTokens } from '../src/routes/tokens.js'
import { faultOfAnswer, isEventData } from './helpers/ofrep-schema.js'
import { until } from './helpers/until.js'

Object.assign(globalThis, { EventSource }) // which Node 20 has not

interface Setup { memory?: Memory, port?: number, evaluation?: FlagsOptions['evaluation'], log?: string[] }

/** A server that really listens. It can be stopped, and started again on its port, with what its store holds. */
async function listen (t: Test, { memory = new Memory(), port = 0, evaluation = { identity: 'caller' }, log }: Setup = {}) {
  const logger = log === undefined ? false : { level: 'info', stream: { write: (line: string) => { log.push(line) } } }
  const app = Fastify({ logger, forceCloseConnections: true }) // clients keep connections that they never asked anything on
  t.teardown(() => app.close())
  const asked: string[] = []
  app.addHook('onRequest', async ({ url }) => { asked.push(url.split('?')[0]!) })
  await app.register(flags, { store: new MemoryStore(memory), evaluation })
  await app.listen({ host: '127.0.0.1', port })
  const taken = (app.server.address() as AddressInfo).port
  return { app, memory, port: taken, asked, url: `http://127.0.0.1:${taken}` }
}

/** `fetch` that holds each answer to the protocol, and keeps what was answered. */
function watch (t: Test) {
  const answered: Array<{ url: string, status: number, text: string }> = []
  const watched: typeof fetch = async (input, init) => {
    const response = await fetch(input, init)
    const { url, status, headers } = response
    const text = await response.clone().text()
    answered.push({ url, status, text })
    t.equal(faultOfAnswer(url, status, headers.get('content-type'), text), undefined, `${status} is as the protocol says`)
    return response
  }
  return { watched, answered }
}

async function fill ({ flags }: FastifyInstance): Promise<void> {
  await flags.admin.put('for-alice', { enabled: true, public: true, serve: 'off', targets: [{ users: ['alice'] }], metadata: { ticket: 'PAY-12' } })
  await flags.admin.put('layout', { enabled: true, public: true, variants: { control: { columns: 1 }, compact: { columns: 3 } }, offVariant: 'control', serve: 'compact' })
  await flags.admin.put('words', { enabled: true, public: true, variants: ['hello', 'hi'], serve: 'hi' })
  await flags.admin.put('number', { enabled: true, variants: { low: 1.5, high: 100 }, offVariant: 'low', serve: 'high' })
}

t.test('the official server provider: every kind of value, wrong types, unknown flags, outage and recovery', async (t) => {
  const { app, url, port, memory } = await listen(t)
  await fill(app)
  const { watched } = watch(t)
  await OpenFeature.setProviderAndWait('ofrep', new OFREPProvider({ baseUrl: url, fetchImplementation: watched }))
  t.teardown(() => OpenFeature.close())
  const client = OpenFeature.getClient('ofrep')
  t.match(await client.getBooleanDetails('for-alice', false, { targetingKey: 'alice' }), { value: true, variant: 'on', reason: 'TARGETING_MATCH', flagMetadata: { cause: 'target-user', ticket: 'PAY-12', environment: 'production', version: 1 } })
  t.match(await client.getBooleanDetails('for-alice', true, { targetingKey: 'bob' }), { value: false, reason: 'DEFAULT' })
  t.match(await client.getBooleanDetails('for-alice', true), { value: false })
  t.same(await client.getObjectValue('layout', {}), { columns: 3 })
  t.equal(await client.getStringValue('words', 'default'), 'hi')
  t.equal(await client.getNumberValue('number', 7), 100)
  t.match(await client.getStringDetails('number', 'default'), { value: 'default', reason: 'ERROR', errorCode: 'TYPE_MISMATCH' })
  t.match(await client.getBooleanDetails('unknown', true), { value: true, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' })
  t.match(await client.getBooleanDetails('a flag/with ä', true), { value: true, errorCode: 'FLAG_NOT_FOUND' })
  t.match(await client.getBooleanDetails('for-alice', true, { targetingKey: 'alice', groups: 7 }), { value: true, errorCode: 'INVALID_CONTEXT' })

  await app.close()
  t.match(await client.getBooleanDetails('for-alice', false, { targetingKey: 'alice' }), { value: false, reason: 'ERROR' })
  await listen(t, { memory, port })
  t.match(await client.getBooleanDetails('for-alice', false, { targetingKey: 'alice' }), { value: true })
})

t.test('the official server provider with tokens: let in, turned away, and asked to wait', async (t) => {
  const secret = 'a-secret-of-more-than-32-characters'
  const { app, url } = await listen(t, { evaluation: { tokens: { shop: secret } } })
  await fill(app)
  const { watched, answered } = watch(t)
  const clientWith = async (domain: string, token: string) => {
    await OpenFeature.setProviderAndWait(domain, new OFREPProvider({ baseUrl: url, fetchImplementation: watched, headers: [['Authorization', `Bearer ${token}`]] }))
    return OpenFeature.getClient(domain)
  }
  t.teardown(() => OpenFeature.close())
  const known = await clientWith('known', secret)
  t.equal(await known.getStringValue('words', 'default'), 'hi')
  const unknown = await clientWith('unknown', 'guess')
  for (let i = 0; i < 20; i++) t.match(await unknown.getStringDetails('words', 'default'), { value: 'default', reason: 'ERROR' })
  t.equal(answered.at(-1)?.status, 401)
  await unknown.getStringDetails('words', 'default')
  t.equal(answered.at(-1)?.status, 429)
  const { length } = answered
  t.match(await unknown.getStringDetails('words', 'default'), { value: 'default', errorMessage: /paused due to TooManyRequests/ })
  t.equal(answered.length, length, 'it heeds Retry-After')
})

t.test('the official web provider: bulk, 304, a refetch by event, another user, outage and recovery', async (t) => {
  const { app, url, port, memory, asked } = await listen(t)
  await fill(app)
  const { watched, answered } = watch(t)
  const provider = new OFREPWebProvider({ baseUrl: url, fetchImplementation: watched, cacheMode: 'disabled' })
  const changed: string[][] = []
  const stale: string[] = []
  await WebOpenFeature.setContext({ targetingKey: 'alice', plan: 'pro' })
  await WebOpenFeature.setProviderAndWait(provider)
  t.teardown(() => WebOpenFeature.close())
  const client = WebOpenFeature.getClient()
  client.addHandler(WebEvents.ConfigurationChanged, (event) => { changed.push(event?.flagsChanged ?? []) })
  client.addHandler(WebEvents.Stale, (event) => { stale.push(event?.message ?? '') })

  t.match(client.getBooleanDetails('for-alice', false), { value: true, variant: 'on', reason: 'TARGETING_MATCH', flagMetadata: { ticket: 'PAY-12' } })
  t.same(client.getObjectValue('layout', {}), { columns: 3 })
  t.match(client.getNumberDetails('words', 7), { value: 7, errorCode: 'TYPE_MISMATCH' })
  t.match(client.getBooleanDetails('unknown', true), { value: true, errorCode: 'FLAG_NOT_FOUND' })

  await WebOpenFeature.setContext({ plan: 'pro', targetingKey: 'alice' })
  t.equal(answered.at(-1)?.status, 304, 'nothing changed')
  await WebOpenFeature.setContext({ targetingKey: 'alice', plan: 'free' })
  t.equal(answered.at(-1)?.status, 200, 'it keeps its ETag while the user stays the same, and another attribute is another answer')

  await until(() => asked.includes('/ofrep/v1/events'))
  await app.flags.admin.put('words', { enabled: true, public: true, variants: ['hello', 'hi'], serve: 'hello' }, { version: '*' })
  await until(() => changed.length > 0)
  t.same(changed[0], ['words'])
  t.match(answered.at(-1)?.url, /\?flagConfigEtag=5-[\w-]+&flagConfigLastModified=\d{10}$/)
  t.equal(client.getStringValue('words', ''), 'hello')

  await WebOpenFeature.setContext({ targetingKey: 'bob' })
  t.equal(client.getBooleanValue('for-alice', true), false)

  changed.length = 0
  await app.close()
  await until(() => stale.length > 0)
  t.equal(client.getStringValue('words', ''), 'hello', 'what was known is served on')
  const again = await listen(t, { memory, port })
  await again.app.flags.admin.put('words', { enabled: true, public: true, variants: ['hello', 'hi'], serve: 'hi' }, { version: '*' })
  await until(() => client.getStringValue('words', '') === 'hi')
  t.ok(changed.some((keys) => keys.includes('words')), 'it heard of it by itself once it was connected again')
})

t.test('a browser token: public flags alone, and a stream whose URL lets in without a header', async (t) => {
  const secret = 'a-secret-of-more-than-32-characters'
  const log: string[] = []
  const { app, url } = await listen(t, { log, evaluation: { browserTokens: { web: secret }, tokens: { shop: `${secret}-2` }, cors: ['https://shop.example'] } })
  await fill(app)
  const { watched } = watch(t)
  const provider = new OFREPWebProvider({ baseUrl: url, fetchImplementation: watched, cacheMode: 'disabled', headers: [['Authorization', `Bearer ${secret}`]] })
  await WebOpenFeature.setContext('browser', {})
  await WebOpenFeature.setProviderAndWait('browser', provider)
  t.teardown(() => WebOpenFeature.clearProviders())
  const client = WebOpenFeature.getClient('browser')
  let changes = 0
  client.addHandler(WebEvents.ConfigurationChanged, () => { changes++ })
  t.equal(client.getStringValue('words', 'default'), 'hi')
  t.match(client.getNumberDetails('number', 7), { value: 7, errorCode: 'FLAG_NOT_FOUND' })
  t.notMatch(client.getBooleanDetails('for-alice', false).flagMetadata, { cause: /./ })
  await until(() => log.some((line) => line.includes('/ofrep/v1/events')))
  await app.flags.admin.put('words', { enabled: true, public: true, variants: ['hello', 'hi'], serve: 'hello' }, { version: '*' })
  await until(() => changes > 0)
  t.equal(client.getStringValue('words', ''), 'hello')
  t.notMatch(log.join(''), /token=|since=/, 'what stands in the URL is not logged')
  t.equal((await fetch(`${url}/ofrep/v1/events?token=guess`)).status, 401)
  t.equal((await fetch(`${url}/ofrep/v1/events`)).status, 401)
})

/** A stream, read as text. Not by `fetch`, which connects anew when it is aborted, and asks for nothing there. */
async function open (t: Test, url: string, headers: Record<string, string> = {}) {
  const request = get(url, { headers, agent: false })
  t.teardown(() => { request.destroy() })
  const [response] = await once(request, 'response') as [IncomingMessage]
  const stream = { status: response.statusCode, headers: response.headers, text: '', ended: false, end: () => { request.destroy() } }
  response.setEncoding('utf8')
  response.on('data', (text: string) => { stream.text += text })
  response.on('error', () => {})
  response.on('close', () => { stream.ended = true })
  return stream
}

const events = (text: string) => [...text.matchAll(/^id: (\S+)\ndata: (.*)$/gm)].map(([, id, data]) => ({ id, data: data! }))

t.test('a stream tells of each change, and at once of those that were missed', async (t) => {
  const { app, url } = await listen(t)
  await fill(app)
  const bulk = async () => {
    const answer = await fetch(`${url}/ofrep/v1/evaluate/flags`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"context":{}}' })
    const { eventStreams } = await answer.json() as { eventStreams: Array<{ endpoint: { requestUri: string } }> }
    return { etag: answer.headers.get('etag'), path: eventStreams[0]!.endpoint.requestUri }
  }
  const { path } = await bulk()
  const stream = await open(t, url + path)
  t.match(stream.headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': /no-cache/ })
  await until(() => /^retry: \d{4}\nid: \S+\n\n$/.test(stream.text))
  t.same(events(stream.text), [], 'nothing has changed since that answer')

  await app.flags.admin.put('one', { enabled: true })
  await app.flags.admin.put('two', { enabled: true })
  await until(() => events(stream.text).length === 2)
  const [first, second] = events(stream.text)
  for (const { data } of [first!, second!]) t.ok(isEventData(data))
  t.equal(JSON.parse(second!.data).etag, second!.id)
  t.equal(new URL((await bulk()).path, url).searchParams.get('since'), second!.id)

  const missed = await open(t, url + path)
  await until(() => events(missed.text).length === 1)
  t.equal(events(missed.text)[0]!.id, second!.id, 'changed between the answer and the stream')
  const back = await open(t, url + path, { 'last-event-id': first!.id! })
  await until(() => events(back.text).length === 1)
  const current = await open(t, url + path, { 'last-event-id': second!.id! })
  await until(() => current.text !== '')
  t.same(events(current.text), [], 'Last-Event-ID goes before the URL')

  await app.close()
  await until(() => [stream, missed, back, current].every(({ ended }) => ended))
})

t.test('a stage that begins by the clock is told of when it begins', async (t) => {
  const { app, url } = await listen(t)
  const at = app.flags.for().now + 1500
  await app.flags.admin.put('staged', { enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 100, at: new Date(at).toISOString() }] } })
  const stream = await open(t, `${url}/ofrep/v1/events?since=${app.flags.for().now < at ? '' : 'x'}`)
  await until(() => events(stream.text).length > 0)
  t.ok(app.flags.for().now >= at)
  t.equal(app.flags.for('u1').isEnabled('staged'), true)
})

t.test('streams are bounded, in number and in what waits for them', async (t) => {
  const { app, url } = await listen(t, { evaluation: { identity: 'caller', maxStreams: 2 } })
  const streams = [await open(t, `${url}/ofrep/v1/events`), await open(t, `${url}/ofrep/v1/events`)]
  const refused = await fetch(`${url}/ofrep/v1/events`)
  t.match([refused.status, refused.headers.get('retry-after'), await refused.json()], [503, /^\d+$/, { errorCode: 'GENERAL', errorDetails: /as many event streams as it takes \(2\)/ }])
  streams[0]!.end()
  await until(async () => {
    const next = await open(t, `${url}/ofrep/v1/events`)
    if (next.status === 200) return true
    next.end()
    return false
  })
  t.equal((await fetch(`${url}/ofrep/v1/events`, { method: 'HEAD' })).status, 405, 'a HEAD would never end')

  const none = await listen(t, { evaluation: { identity: 'caller', maxStreams: 0 } })
  t.equal((await fetch(`${none.url}/ofrep/v1/events`)).status, 404)
  const answer = await none.app.inject({ method: 'POST', url: '/ofrep/v1/evaluate/flags', payload: { context: {} } })
  t.notOk('eventStreams' in answer.json())
  await app.close()
})

for (const http2 of [false, true]) {
  t.test(`who leaves while a hook of the host's takes its time holds no stream, over HTTP/${http2 ? 2 : 1}`, async (t) => {
    const app = (http2 ? Fastify({ http2 }) : Fastify()) as FastifyInstance
    t.teardown(() => app.close())
    const hook = new EventEmitter()
    app.addHook('onRequest', async ({ headers }, { raw }) => {
      if (headers['x-leaves'] === undefined) return
      hook.emit('waits')
      await once(raw, 'close')
      setImmediate(() => { hook.emit('went') })
    })
    await app.register(flags, { store: 'memory', evaluation: { identity: 'caller', maxStreams: 1 } })
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const ask = (headers: Record<string, string>) => {
      if (!http2) return get(`${url}/ofrep/v1/events`, { headers, agent: false })
      const session = connectHttp2(url)
      session.on('error', () => {})
      return session.request({ ':path': '/ofrep/v1/events', ...headers }).on('close', () => { session.destroy() })
    }
    for (let i = 0; i < 2; i++) {
      const [waits, went] = [once(hook, 'waits'), once(hook, 'went')]
      const leaver = ask({ 'x-leaves': 'soon' }).on('error', () => {})
      await waits
      leaver.destroy()
      await went
    }
    const stayer = ask({}).on('error', () => {})
    t.teardown(() => { stayer.destroy() })
    const [answer] = await once(stayer, 'response') as [{ statusCode?: number, ':status'?: number }]
    t.equal(answer.statusCode ?? answer[':status'], 200)
  })
}

t.test('a stream gives a sign of life, and who does not read is dropped', async (t) => {
  let stamp = 0
  const streams = new EventStreams({ most: 10, heartbeat: 40, now: () => 1, stampOf: () => String(stamp).padEnd(20_000, 'x') })
  const app = Fastify()
  app.get('/', (request, reply) => { streams.open(request, reply, 'production', undefined) })
  t.teardown(() => {
    streams.close()
    return app.close()
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const reading = await open(t, `http://127.0.0.1:${port}/`)
  await until(() => /\n:\n\n:\n\n/.test(reading.text))

  const deaf: Socket = connect(port, '127.0.0.1')
  t.teardown(() => { deaf.destroy() })
  await once(deaf, 'connect')
  deaf.pause()
  deaf.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await until(() => streams.size === 2)
  reading.end()
  await until(() => streams.size === 1)
  await until(() => {
    for (let i = 0; i < 20; i++) {
      stamp++
      streams.tell() // the kernel takes some megabytes for who does not read
    }
    return streams.size === 0
  })
})

t.test('a stream\'s token counts for an hour or two, in every process that knows its secret, and for nothing else', async (t) => {
  const hour = 3_600_000
  let now = 1000 * hour + 1
  const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`
  const bearersOf = (tokens: object, browserTokens: object) => readTokens({ server: { ...tokens }, browser: { ...browserTokens } }, { server: 's', browser: 'b' }, ['server', 'browser']).bearers
  const bearers = bearersOf({ shop: secret('shop'), qa: { secret: secret('qa'), environment: 'staging' } }, { web: [secret('old'), secret('new')] })
  const here = openStreamTokens(bearers, () => now)
  const there = openStreamTokens(bearersOf({ other: secret('other') }, { site: secret('new') }), () => now)
  for (const bearer of bearers) t.same(here.verify(here.issue(bearer)), { bearer, isOver: false })
  const token = here.issue(bearers[3]!)
  t.match(there.verify(token), { bearer: { actor: 'site', grant: 'browser' }, isOver: false })
  t.equal(there.verify(here.issue(bearers[2]!)), undefined, 'a withdrawn secret lets nobody in')
  for (let i = 0; i < token.length; i++) t.equal(here.verify(token.slice(0, i) + (token[i] === 'x' ? 'y' : 'x') + token.slice(i + 1)), undefined)
  t.equal(here.issue(bearers[3]!), token, 'it stays the same for an hour')
  now += hour
  t.not(here.issue(bearers[3]!), token)
  t.match(here.verify(token), { isOver: false })
  now += hour
  t.match(here.verify(token), { bearer: bearers[3], isOver: true })
  t.equal(new Set(bearers.map((bearer) => here.issue(bearer))).size, 4)
})
