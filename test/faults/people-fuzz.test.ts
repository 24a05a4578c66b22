import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import flags from '../../src/index.js'
import type { When } from '../../src/model/condition.js'
import type { EvaluationContext } from '../../src/model/context.js'
import type { Flag } from '../../src/model/flag.js'
import { arbitraryFlag, arbitraryWhen, neighbours } from '../helpers/arbitrary-flags.js'
import { alice, viewer } from '../helpers/admin.js'
import { Chance } from '../helpers/chance.js'
import { contexts } from '../helpers/generators.js'

const seed = 20261120
const requests = 100_000

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

async function build (t: Test) {
  const errors: string[] = []
  const app: FastifyInstance = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { errors.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', headers: { plan: 'x-plan' }, admin: { tokens: { alice }, readTokens: { viewer } }, evaluation: { identity: 'caller' } })
  for (const [key, segment] of Object.entries(neighbours.segments)) await app.flags.admin.putSegment(key, segment)
  for (const [key, flag] of Object.entries(neighbours.flags)) await app.flags.admin.put(key, flag)
  return { app, errors }
}

/** The own keys and values of what all objects share. */
function prototypes (): unknown[] {
  return [Object, Array, Function, String, Number, Boolean, Map, Set, Promise, RegExp, Error, Buffer].flatMap(({ prototype }) => [Reflect.ownKeys(prototype), ...Object.values(Object.getOwnPropertyDescriptors(prototype)).map(({ value }) => value)])
}

/** What makes trouble wherever it stands; `raw` is JSON text, for what no value can say. */
const nasty: unknown[] = [null, 0, -0, -1, 1e308, 0.1, 2 ** 53, '', ' ', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '\0', '\ud800', '💥', 'a'.repeat(101), 'x'.repeat(5000), '%s%d%j', '{{7*7}}', '../../etc/passwd', '<script>', "'; DROP TABLE flags; --", 'true', '1e999', '(a+)+$', '[', '(?=a)', [], [[]], [null], {}, { __proto__: null, constructor: { prototype: { polluted: 1 } } }, { toString: 1, valueOf: null, toJSON: 'x', then: 'y', length: -1 }, true, false]
const raw = ['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '[', '{', '"', '{"a":1,"a":2}', '1e999', '-', 'NaN', '\ufeff{}', '{"enabled":true}}', `${'['.repeat(5000)}${']'.repeat(5000)}`, `${'{"a":'.repeat(101)}1${'}'.repeat(101)}`, '{"a":"\\ud800"}', '\0', 'null', 'undefined', '[]', '""', '{"version":1e400}', '{"when":{"all":[]}}', `{"description":"${'\\u0000'.repeat(2000)}"}`]
const changed = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8', 'k9', 's0', 's1']
const keys = [...changed, ...Object.keys(neighbours.flags), ...Object.keys(neighbours.segments)]
const names = ['missing', '__proto__', 'constructor', 'toString', 'a%2Fb', '%2e%2e', '%00', '%F0%9F%92%A5', '%ED%A0%80', 'k'.repeat(100), 'k'.repeat(101), 'k'.repeat(2000), '', '.', 'a:b', '%', '%zz', 'a;b', 'a+b', 'production']
const actions = ['', '/enable', '/disable', '/targets', '/explain', '/history', '/evaluate', '/environments/production/enable', '/environments/__proto__/disable', '/environments/production/targets', '/nothing', '/']
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
const parameters = ['user', 'targetingKey', 'groups', 'region', 'environment', 'plan', 'age', 'app', '__proto__', 'constructor', 'a.b', '', 'limit', 'after', 'before', 'stale', 'q', 'tag', 'owner', 'dryRun', '%00', '%F0%9F%92%A5']
const queryValues = ['', 'u1', '1', '0', '-1', '1e9', '30d', 'true', 'production', 'staging', '__proto__', 'a,b,,a', '%2C%2c', '%', '%zz', '%ED%A0%80', '%00', '+', '=', 'x'.repeat(2000), '1'.repeat(3000), '1-' + '%20'.repeat(500) + '%0ax', '99999999999999999999', '🤖']
const types = ['application/merge-patch+json', 'application/json; charset=latin1', 'text/plain', 'nonsense', '']
const headerValues = ['', 'u1', 'beta,staff', 'a%2Cb', '%', 'é', '\xff\xfe', '*', '"1"', 'W/"1"', '"', '"1","2"', '"99999999999999999999"', 'x'.repeat(1025), '1.2.3.4', 'Bearer', 'Basic Og==', ','.repeat(900), 'gzip', 'chunked', '0']
const headerNames = ['x-user-id', 'x-user-groups', 'x-region', 'x-plan', 'if-match', 'if-none-match', 'forwarded', 'x-forwarded-for', 'via', 'accept', 'content-encoding', 'x-http-method-override', 'cookie', 'expect', 'range', 'accept-encoding']

class Fuzzer {
  readonly #chance: Chance
  readonly #flags: Flag[]
  readonly #whens: unknown[]
  readonly #contexts: EvaluationContext[]
  readonly #values: unknown[]

  constructor (seed: number) {
    this.#chance = new Chance(seed)
    this.#flags = fc.sample(arbitraryFlag, { numRuns: 500, seed })
    this.#whens = fc.sample(arbitraryWhen, { numRuns: 300, seed })
    this.#contexts = fc.sample(contexts, { numRuns: 1000, seed })
    this.#values = fc.sample(fc.jsonValue({ maxDepth: 4 }), { numRuns: 500, seed })
  }

  get context (): EvaluationContext {
    return this.#chance.one(this.#contexts)
  }

  request (): InjectOptions {
    const chance = this.#chance
    const administrates = chance.happens(0.35)
    const method = chance.happens(0.5) ? 'GET' : chance.one(methods)
    const headers: Record<string, string> = {}
    if (administrates && !chance.happens(0.02)) headers.authorization = `Bearer ${chance.happens(0.8) ? alice : viewer}`
    if (chance.happens(administrates ? 0.5 : 0.1)) headers['if-match'] = '*'
    for (let i = chance.happens(0.3) ? chance.below(4) : 0; i > 0; i--) headers[chance.one(headerNames)] = chance.one(headerValues)
    const options: InjectOptions = { method: administrates && chance.happens(0.6) ? chance.one(['PUT', 'PUT', 'PUT', 'PUT', 'PUT', 'PATCH', 'PATCH', 'POST', 'POST', 'DELETE'] as const) : method, url: this.#url(administrates), headers }
    if (options.method !== 'GET' && options.method !== 'HEAD') {
      headers['content-type'] = chance.happens(0.9) ? 'application/json' : chance.one(types)
      options.payload = this.#body(administrates)
    }
    return options
  }

  #url (administrates: boolean): string {
    const chance = this.#chance
    const path = chance.happens(0.1)
      ? chance.one(['/flags', '/flags/', '/segments', '/changes', '/export', '/import', '/', '/x', '/flags/%2e%2e/flags'])
      : `/${chance.happens(0.85) ? 'flags' : 'segments'}/${chance.one(!chance.happens(0.8) ? names : administrates ? changed : keys)}${!administrates ? '/evaluate' : chance.happens(0.6) ? '' : chance.one(actions)}`
    const query = Array.from({ length: chance.happens(administrates ? 0.1 : 0.6) ? chance.below(4) : 0 }, () => `${chance.one(parameters)}=${chance.one(queryValues)}`).join('&')
    return encodeURI(`${administrates ? '/admin' : ''}${path}`).replaceAll('%25', '%') + (query === '' ? '' : `?${encodeURI(query).replaceAll('%25', '%')}`)
  }

  #body (administrates: boolean): string {
    const chance = this.#chance
    if (chance.happens(0.1)) return chance.one(raw)
    const value = administrates ? this.#document() : { context: chance.happens(0.9) ? this.#mutated(this.context) : chance.one(nasty), ...chance.happens(0.2) && { environment: chance.one(nasty) } }
    const text = JSON.stringify(value) ?? ''
    if (!chance.happens(0.1) || text.length === 0) return text
    const at = chance.below(text.length)
    return text.slice(0, at) + chance.one(['', '"', '}', '\\', ',', '\0', '1', '{', text]) + text.slice(at + chance.below(3))
  }

  #document (): unknown {
    const chance = this.#chance
    const kind = chance.next()
    if (kind < 0.75) return this.#mutated(chance.one(this.#flags))
    if (kind < 0.82) return this.#mutated({ when: chance.one(this.#whens) })
    if (kind < 0.9) return this.#mutated({ add: { users: ['u1'], groups: ['g'] }, remove: { regions: ['eu'] } })
    if (kind < 0.93) return { flags: { [chance.one(names)]: this.#mutated(chance.one(this.#flags)) }, segments: {} }
    return chance.one(kind < 0.97 ? this.#values : nasty)
  }

  /** A copy, in which now and then something is something else. */
  #mutated (value: unknown): unknown {
    const chance = this.#chance
    const copy: unknown = JSON.parse(JSON.stringify(value) ?? 'null')
    if (chance.happens(0.6)) return copy
    let node = copy
    while (typeof node === 'object' && node !== null && Object.keys(node).length > 0) {
      const fields = node as Record<string, unknown>
      const name = chance.one(Object.keys(fields))
      if (chance.happens(0.4) || typeof fields[name] !== 'object' || fields[name] === null) {
        const what = chance.next()
        if (what < 0.2) Reflect.deleteProperty(fields, name)
        else if (what < 0.4) fields[chance.one(names)] = chance.one(this.#values)
        else fields[name] = chance.one(chance.happens(0.7) ? nasty : this.#values)
        break
      }
      node = fields[name]
    }
    return copy
  }
}

/** How long an evaluation takes, in milliseconds: the least of some attempts, for the collector may come between. */
function timed (evaluate: () => unknown, attempts = 5): number {
  let least = Infinity
  for (let attempt = 0; attempt < attempts && least > 2; attempt++) {
    const begun = process.hrtime.bigint()
    evaluate()
    least = Math.min(least, Number(process.hrtime.bigint() - begun) / 1e6)
  }
  return least
}

t.test('row 15: 100,000 fuzzed requests: no crash, no 500, no prototype touched, no evaluation over 5 ms, memory flat', { timeout: 300_000 }, async (t) => {
  const { app, errors } = await build(t)
  const fuzzer = new Fuzzer(seed)
  const before = prototypes()
  const statuses = new Map<number, number>()
  const wrong: string[] = []
  let slowest = 0
  let accepted = 0
  const memory: number[] = []

  const send = async () => {
    const request = fuzzer.request()
    const response = await app.inject(request)
    const { statusCode, payload } = response
    statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
    if (statusCode < 300 && request.method !== 'GET' && request.method !== 'HEAD') accepted++
    const complain = (why: string) => { if (wrong.length < 20) wrong.push(`${why}: ${request.method} ${String(request.url).slice(0, 200)} ${JSON.stringify(request.headers).slice(0, 200)} ${String(request.payload).slice(0, 300)} → ${statusCode} ${payload.slice(0, 300)}`) }
    if (statusCode >= 500) complain('failed')
    if (payload.length > 2_000_000) complain('much')
    if (statusCode >= 400 && payload !== '') {
      try {
        const { code, statusCode: said } = JSON.parse(payload)
        if (said !== statusCode || (code !== undefined && !/^FST_/.test(code))) complain('not ours')
      } catch {
        complain('no JSON')
      }
    }
  }
  for (let done = 0; done < requests;) {
    const batch = Math.min(50, requests - done)
    await Promise.all(Array.from({ length: batch }, send))
    done += batch
    await turn() // inject() alone never lets the event loop turn, without which nothing is freed
    if (done % 500 === 0) {
      const subject = app.flags.for(fuzzer.context, undefined, { environment: done % 1000 === 0 ? 'production' : 'staging' })
      for (const { key } of [...app.flags.for().snapshot.flags()]) slowest = Math.max(slowest, timed(() => subject.getDetails(key, undefined)))
    }
    if (done % 25_000 === 0) {
      collect()
      const { heapUsed, external } = process.memoryUsage() // RSS is more by what V8 has not given back yet
      memory.push((heapUsed + external) / 1024 / 1024)
    }
  }
  t.comment(`${requests} requests, ${accepted} changes accepted; ${[...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`).join(', ')}`)
  t.comment(`slowest evaluation ${slowest.toFixed(2)} ms; memory ${memory.map((mb) => mb.toFixed(0)).join(', ')} MB`)
  t.same(wrong, [])
  t.same(errors, [])
  t.ok(accepted > 1000, 'much of it is accepted')
  t.ok(slowest < 5, `slowest evaluation ${slowest.toFixed(2)} ms`)
  t.ok(Math.max(...memory.slice(2)) - Math.max(...memory.slice(0, 2)) < 64, `memory of the second half beyond that of the first ${memory.join(', ')}`)
  t.strictSame(prototypes().length, before.length)
  t.ok(prototypes().every((value, i) => Array.isArray(value) ? JSON.stringify(value.map(String)) === JSON.stringify((before[i] as unknown[]).map(String)) : Object.is(value, before[i])), 'no prototype is touched')
  t.notOk('polluted' in {})
})

t.test('row 15: no evaluation takes over 5 ms, whatever documents and contexts hold', async (t) => {
  const { app } = await build(t)
  const { admin } = app.flags
  const on = (when: When): Flag => ({ enabled: true, serve: 'off', rules: [{ when, serve: 'on' }] })
  const has = (operator: string, value: unknown): When => ({ attribute: 'a', operator, value }) as When
  const count = <T>(length: number, make: (i: number) => T) => Array.from({ length }, (_, i) => make(i))
  for (let i = 0; i < 60; i++) { // each leads to the next in two ways
    await admin.putSegment(`way-${59 - i}`, { when: i === 0 ? has('eq', 'never') : { any: [{ segment: `way-${60 - i}` }, { not: { not: { segment: `way-${60 - i}` } } }] } })
    await admin.put(`need-${59 - i}`, { enabled: true, prerequisites: i === 0 ? [] : [{ flag: `need-${60 - i}` }, { flag: `need-${60 - i}` }], serve: 'on' })
  }
  const documents: Record<string, Flag> = {
    automaton: on(has('matches', '(a|b)*a(a|b){100}c?$')),
    counted: on(has('matches', '((a|b)?){450}$')),
    patterns: on({ any: count(50, (i) => has('matches', `a[ab]{${i + 100}}x?$`)) }),
    unicode: on(has('matches', '(\\pL|b)*a[\\pL]{150}$')),
    texts: on(has('contains', count(10_000, (i) => `needle-${i}`))),
    folded: on({ any: count(1000, (i) => ({ attribute: 'a', operator: 'contains', value: `NEEDLE-${i}`, ignoreCase: true })) }),
    networks: on(has('in_cidr', count(20_000, (i) => `10.${i >> 8}.${i & 255}.0/24`))),
    numbers: on({ any: count(1000, (i) => has('gt', 1e300 + i)) }),
    versions: on({ any: count(1000, () => has('semver_gt', '9999.0.0')) }),
    dates: on({ any: count(1000, () => has('after', '2999-01-01')) }),
    among: on({ any: count(1000, (i) => has('in', count(20, (j) => `v${i}-${j}`))) }),
    rules: { enabled: true, serve: 'off', rules: count(1000, (i) => ({ when: has('eq', `v${i}`), serve: 'on' })) },
    users: { enabled: true, serve: 'off', targets: count(20, (i) => ({ users: count(2000, (j) => `u${i}-${j}`), groups: count(1000, (j) => `g${i}-${j}`) })) },
    split: { enabled: true, variants: count(500, (i) => `v${i}`), serve: { split: Object.fromEntries(count(500, (i) => [`v${i}`, 1])), by: 'a' } },
    segments: on({ segment: 'way-0' }),
    needs: { enabled: true, prerequisites: [{ flag: 'need-0' }], serve: 'on' }
  }
  for (const [key, document] of Object.entries(documents)) await admin.put(key, document)

  const chance = new Chance(seed)
  const ab = (length: number) => count(length, () => chance.happens(0.5) ? 'a' : 'b').join('')
  const values: unknown[] = [
    ab(100), ab(1000), ab(60_000), ab(1_000_000), 'x'.repeat(60_000), '1'.repeat(60_000) + 'x', '1-' + ' '.repeat(60_000) + '\nx', 'T'.repeat(60_000), '9.9.9.9', `${'1:'.repeat(30_000)}1`,
    count(30_000, (i) => i), count(30_000, () => 'a'), count(1000, (i) => `9.9.${i >> 8}.${i & 255}`), count(300, () => ab(200)), count(10_000, () => '1.2.3'), count(10_000, () => '2026-01-01'), count(10_000, () => [])
  ]
  const slow: string[] = []
  let slowest = 0
  for (const key of Object.keys(documents)) {
    for (const [i, a] of values.entries()) {
      const flags = app.flags.for({ targetingKey: 'u', groups: count(1000, (i) => `group-${i}`), a } as EvaluationContext)
      flags.getDetails(key, undefined) // what is compiled once, when a flag has changed, is no evaluation
      const took = timed(() => app.flags.for(flags.context).getDetails(key, undefined), 20)
      slowest = Math.max(slowest, took)
      if (took > 5) slow.push(`${key} of value ${i}: ${took.toFixed(1)} ms`)
    }
  }
  t.comment(`slowest evaluation ${slowest.toFixed(2)} ms`)
  t.same(slow, [])

  const asked = await app.inject({ method: 'POST', url: '/flags/patterns/evaluate', payload: { context: { targetingKey: 'u', a: ab(50_000) } } })
  t.match([asked.statusCode, asked.json()], [422, { code: 'FST_FLAGS_NOT_EVALUATED' }], 'what would take too long is said')
  t.equal(app.flags.for({ targetingKey: 'u', a: ab(50_000) }).isEnabled('patterns', true), true, 'and serves the default of who asks')
  t.match(admin.explain('patterns', { a: ab(50_000) }).steps, [{ check: 'failure' }])
})

t.test('row 15: bytes that are hardly HTTP end nothing and are never answered with 500', async (t) => {
  const { app, errors } = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const chance = new Chance(seed)
  const seeds = [
    'GET /flags/plain/evaluate?user=u1 HTTP/1.1\r\nHost: x\r\nX-User-Id: u1\r\n\r\n',
    `PUT /admin/flags/k1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice}\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"enabled":true}`,
    'POST /flags/plain/evaluate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"context":{}   \r\n1\r\n}\r\n0\r\n\r\n',
    `GET /admin/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${viewer}\r\nExpect: 100-continue\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n`
  ]
  let answered = 0
  const failed: string[] = []
  const say = async () => {
    let bytes = Buffer.from(chance.one(seeds).repeat(1 + chance.below(3)), 'latin1')
    for (let i = chance.below(4); i >= 0; i--) {
      const at = chance.below(bytes.length)
      const change = chance.next()
      const middle = change < 0.5 ? Buffer.from([chance.below(256)]) : change < 0.7 ? Buffer.alloc(0) : bytes.subarray(chance.below(at + 1), at)
      bytes = Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(at + chance.below(8))])
      if (bytes.length === 0) bytes = Buffer.from('\n')
    }
    const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
    let said = ''
    socket.setEncoding('latin1').on('data', (data) => { said += data })
    const closed = once(socket, 'close')
    socket.end(bytes)
    const late = setTimeout(() => socket.destroy(), 500)
    await closed.catch(() => {})
    clearTimeout(late)
    if (said !== '') answered++
    if (/HTTP\/1\.1 5\d\d/.test(said)) failed.push(`${JSON.stringify(bytes.toString('latin1'))} → ${said.slice(0, 300)}`)
  }
  for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 50 }, say))
  t.ok(answered > 3000, `${answered} of 5,000 answered`)
  t.same(failed, [])
  t.same(errors, [])
  t.equal((await app.inject('/flags/plain/evaluate')).statusCode, 200)
})
