import Fastify from 'fastify'
import type { Redis } from 'ioredis'
import t from 'tap'
import flags, { MemoryStore, type FlagsOptions } from '../src/index.js'
import { checkOptions } from '../src/options.js'

const client = { defineCommand () {}, duplicate () { return this } }

function refusal (options: unknown): string {
  try {
    checkOptions(options as FlagsOptions)
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}

t.test('left out, everything has its default', async (t) => {
  t.same(checkOptions({}), {
    store: { kind: 'memory', given: false },
    namespace: 'flags',
    environment: 'production',
    headers: { user: 'x-user-id', groups: 'x-user-groups', region: 'x-region' },
    trust: 'local',
    context: undefined,
    bootstrap: undefined,
    staleAfter: 5000,
    admin: undefined,
    evaluation: undefined
  })
})

t.test('each form of store and redis is understood', async (t) => {
  const store = new MemoryStore()
  t.same(checkOptions({ store }).store, { kind: 'own', store })
  const odd = Object.assign(new MemoryStore(), { kind: 'redis', file: 'mine' })
  t.equal((checkOptions({ store: odd }).store as { store?: unknown }).store, odd)
  t.same(checkOptions({ store: 'memory' }).store, { kind: 'memory', given: true })
  t.same(checkOptions({ store: { file: 'flags.json' } }).store, { kind: 'file', file: 'flags.json' })
  for (const redis of ['rediss://localhost', 'redis://a,redis://b', 'sentinels://a,b/mymaster', { url: 'sentinel://a/mymaster' }, { url: 'redis://localhost', db: 2 }, { host: 'cache', port: 6380 }, { sentinels: [{ host: 'a', port: 26379 }], name: 'mymaster' }, { nodes: ['redis://a:6379', { host: 'b', port: 6379 }], password: 's3cret' }, client as unknown as Redis, { client: client as unknown as Redis }]) {
    t.same(checkOptions({ redis }).store, { kind: 'redis', redis })
  }
})

t.test('a wrong option is refused with what was given and what is allowed', async (t) => {
  for (const [options, said] of [
    [{ store: 'redis' }, /option store must be a store, "memory", or .*, not "redis"/],
    [{ store: {} }, /option store must be/],
    [{ store: { file: '' } }, /option store must be/],
    [{ store: { read () {}, write () {} } }, /not an object with read, write/],
    [{ namespace: 'a b' }, /option namespace must be .*, not "a b"/],
    [{ namespace: '{x}' }, /option namespace/],
    [{ environment: '' }, /option environment must be .*, not ""/],
    [{ environment: '__proto__' }, /option environment/],
    [{ headers: 'x-user-id' }, /option headers must be an object/],
    [{ headers: { user: 'x user' } }, /headers\.user is "x user", which is no name of a header/],
    [{ headers: { plan: 7 } }, /headers\.plan is 7/],
    [{ headers: { targetingKey: 'x-id' } }, /called user/],
    [{ headers: { constructor: 'x-id' } }, /"constructor" cannot be an attribute/],
    [{ trust: true }, /option trust must be "local", .*, not true/],
    [{ trust: 'loopback' }, /option trust .*, not "loopback"/],
    [{ trust: '10.0.0.0/8' }, /a list of addresses/],
    [{ trust: ['10.0.0.0/33'] }, /"10\.0\.0\.0\/33" is neither an address nor a CIDR range/],
    [{ trust: ['::1/129'] }, /neither/], [{ trust: ['localhost'] }, /"localhost" is neither/], [{ trust: ['10.0.0.1/8/8'] }, /neither/],
    [{ trust: ['10.0.0.1/'] }, /neither/], [{ trust: [7] }, /7 is neither/], [{ trust: ['fe80::1%eth0'] }, /neither/],
    [{ context: { targetingKey: 'alice' } }, /option context must be a function .*, not an object with targetingKey/],
    [{ bootstrap: { 'new-checkout': { enabled: true } } }, /option bootstrap must be .*, not an object with new-checkout/],
    [{ bootstrap: [] }, /not a list/],
    [{ staleAfter: '5s' }, /option staleAfter must be a number of milliseconds, more than 0, not "5s"/],
    [{ staleAfter: 0 }, /not 0/], [{ staleAfter: NaN }, /not NaN/], [{ staleAfter: Infinity }, /staleAfter/],
    [{ redis: 6379 }, /option redis must be a client/],
    [{ redis: null }, /not null/],
    [{ redis: 'localhost:6379' }, /the text given is no URL of a Redis; write it as redis:/],
    [{ redis: 'sentinel://a:26379' }, /the text given leaves out the name that the Sentinels know the primary by/],
    [{ redis: { nodes: ['sentinel://a/mymaster'] } }, /redis\.nodes must list nodes/],
    [{ redis: { url: 7 } }, /redis\.url must be a text/],
    [{ redis: { url: 'http://localhost' } }, /redis\.url is no URL/],
    [{ redis: { client: {} } }, /redis\.client is no ioredis client/],
    [{ redis: { sentinels: [], name: 'mymaster' } }, /redis\.sentinels must be a list/],
    [{ redis: { sentinels: [{ host: 'a', port: 26379 }] } }, /redis\.name the name/],
    [{ redis: { nodes: [] } }, /redis\.nodes must list nodes/],
    [{ redis: { nodes: ['a:6379'] } }, /redis\.nodes must list nodes/],
    [{ redis: { nodes: ['redis://a'], redisOptions: { password: 's3cret' } } }, /stands beside redis\.nodes/],
    [{ redis: { url: undefined } }, /redis\.url is undefined; is the environment variable set/],
    [{ redis: { client, closeClient: true } }, /closeClient means nothing here/],
    [{ redis: { url: 'redis://localhost', namespace: 'cache' } }, /names a client of @fastify\/redis/],
    [{ redis: { url: 'redis://localhost', closeClient: true } }, /closeClient means nothing here/],
    [{ redis: { sendCommand () {}, duplicate () {}, isOpen: true } }, /client of another package/],
    [{ redis: undefined }, /option redis is undefined; is @fastify\/redis registered before/],
    [{ admin: true }, /option admin must be an object such as/],
    [{ admin: { token: {} } }, /there is no admin\.token; did you mean tokens\?/],
    [{ evaluation: true }, /option evaluation must be an object such as/],
    [{ evaluation: { token: {} } }, /there is no evaluation\.token; did you mean tokens\?/],
    [{ evaluation: { prefix: 'flags' } }, /evaluation\.prefix must begin with a slash/],
    [{ evaluation: { prefix: '/flags/' } }, /not end with one/],
    [{ store: 'memory', redis: 'redis://localhost' }, /store and redis both/],
    [{ context: () => ({}), headers: {} }, /context replaces the headers/],
    [{ context: () => ({}), trust: 'all' }, /with context no header is read/]
  ] as const) t.match(refusal(options), said, JSON.stringify(options))
})

t.test('an option that does not exist is refused with the one that was probably meant', async (t) => {
  for (const [name, meant] of [['enviroment', 'environment'], ['name-space', 'namespace'], ['stale_after', 'staleAfter'], ['Redis', 'redis'], ['header', 'headers'], ['bootstraps', 'bootstrap']] as const) {
    t.match(refusal({ [name]: 'x' }), `there is no option ${name}; did you mean ${meant}?`)
  }
  t.match(refusal({ constructor: 'x' }), /there is no option constructor/)
  t.match(refusal({ colour: 'red' }), /there is no option colour; there are store, redis, namespace/)
  t.match(refusal({ prefix: '/flags' }), /give admin\.prefix or evaluation\.prefix/)
})

t.test('a wrong option fails the start of the app, and no refusal shows what may be a secret', async (t) => {
  for (const options of [
    { enviroment: 'staging' }, { redis: 'redis:/user:hunter2@host' }, { redis: 'user:hunter2@host' }, { redis: { url: 'http://user:hunter2@host' } },
    { redis: { url: ['hunter2'] } }, { redis: { url: 'redis://host', password: 'hunter2', namespace: 'x' } }, { redis: ['hunter2'] }, { redis: { client: {} } }
  ]) {
    const app = Fastify()
    t.teardown(() => app.close())
    const error = await Promise.resolve(app.register(flags, options as FlagsOptions)).then(() => undefined, (error: unknown) => error)
    t.match(error, { code: 'FST_FLAGS_INVALID_OPTION' }, JSON.stringify(options))
    t.notMatch(String(error), 'hunter2')
  }
})
