import Fastify from 'fastify'
import t from 'tap'
import flags, { MemoryStore, type FlagsOptions } from '../src/index.js'
import { checkOptions } from '../src/options.js'

const client = { status: 'ready', duplicate () { return this } }

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
    evaluation: undefined
  })
})

t.test('each form of store and redis is understood', async (t) => {
  const store = new MemoryStore()
  t.equal(checkOptions({ store }).store, store)
  t.same(checkOptions({ store: 'memory' }).store, { kind: 'memory', given: true })
  t.same(checkOptions({ store: { file: 'flags.json' } }).store, { kind: 'file', file: 'flags.json' })
  t.same(checkOptions({ redis: 'rediss://localhost' }).store, { kind: 'redis', url: 'rediss://localhost', options: {} })
  t.same(checkOptions({ redis: { url: 'redis://localhost', db: 2 } }).store, { kind: 'redis', url: 'redis://localhost', options: { db: 2 } })
  t.same(checkOptions({ redis: { host: 'cache', port: 6380 } }).store, { kind: 'redis', url: undefined, options: { host: 'cache', port: 6380 } })
  for (const redis of [client, { client }]) t.match(checkOptions({ redis } as unknown as FlagsOptions).store, { kind: 'redis', client })
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
    [{ redis: 'localhost:6379' }, /no redis:\/\/ or rediss:\/\/ URL/],
    [{ redis: { url: undefined } }, /redis\.url is undefined; is the environment variable set/],
    [{ redis: { url: 'http://localhost' } }, /redis\.url is no redis/],
    [{ redis: { cache: client, queue: client } }, /named clients; give one of them, such as app\.redis\.cache/],
    [{ redis: { client: {} } }, /its client is no ioredis client/],
    [{ redis: { client, closeClient: true } }, /beside client there is closeClient/],
    [{ redis: { url: 'redis://localhost', namespace: 'cache' } }, /names a client of @fastify\/redis/],
    [{ redis: { url: 'redis://localhost', closeClient: true } }, /closeClient means nothing here/],
    [{ redis: { sendCommand () {}, duplicate () {}, isOpen: true } }, /client of another package/],
    [{ redis: undefined }, /option redis is undefined; is @fastify\/redis registered before/],
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
  t.match(refusal({ colour: 'red' }), /there is no option colour; there are store, redis, namespace/)
  t.match(refusal({ prefix: '/flags' }), /give evaluation\.prefix/)
})

t.test('no refusal shows what may be a secret', async (t) => {
  for (const redis of ['redis:/user:hunter2@host', { url: 'http://user:hunter2@host' }, { url: ['hunter2'] }, { url: 'redis://host', password: 'hunter2', namespace: 'x' }, ['hunter2']]) {
    t.not(refusal({ redis }), 'accepted')
    t.notMatch(refusal({ redis }), 'hunter2')
  }
})

t.test('a wrong option fails the start of the app', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(flags, { enviroment: 'staging' } as FlagsOptions) }, { code: 'FST_FLAGS_INVALID_OPTION' })
})
