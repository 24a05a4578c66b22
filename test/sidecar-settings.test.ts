import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { UsageError } from '../src/sidecar/failures.js'
import type { Env } from '../src/sidecar/options.js'
import { withoutPassword } from '../src/sidecar/report.js'
import { isLoopback, readSettings } from '../src/sidecar/settings.js'
import { tokenVariables } from '../src/sidecar/token-settings.js'
import { commands } from '../src/sidecar/commands.js'
import { commandHelp, help } from '../src/sidecar/help.js'
import { readRedisText } from '../src/store/redis-text.js'

const read = (line: string, env: Env = {}) => readSettings(line.split(' ').filter((word) => word !== ''), env)
const secret = (name: string) => `${name}-secret-of-32-characters-xxxxx`

t.test('without options it keeps flags.json, listens to this machine only and trusts it', async (t) => {
  t.strictSame(read(''), {
    store: { kind: 'file', path: './flags.json' },
    host: '127.0.0.1',
    port: 8080,
    environment: 'production',
    namespace: 'flags',
    snapshotFile: undefined,
    trust: 'local',
    requestTimeout: 10_000,
    publicUrl: undefined,
    cors: undefined,
    logLevel: 'info',
    dev: false,
    open: true,
    tokens: { admin: Object.create(null), read: Object.create(null), evaluation: Object.create(null), browser: Object.create(null) },
    warnings: []
  })
})

t.test('a public URL and the origins of pages are read whole, or refused with what to write', async (t) => {
  t.match(read('--public-url https://example.com/flags/ --cors https://a.example,http://localhost:5173'), { publicUrl: 'https://example.com/flags', cors: ['https://a.example', 'http://localhost:5173'] })
  t.match(read('', { FLAGS_CORS: 'all' }), { cors: true })
  t.throws(() => read('--public-url example.com'), { message: /--public-url is "example.com".*https:\/\/example.com\/flags/ })
  t.throws(() => read('', { FLAGS_CORS: 'https://a.example/shop' }), { message: /FLAGS_CORS holds "https:\/\/a.example\/shop".*or write all/ })
})

t.test('an option goes before its variable, and FLAGS_… before what others set too', async (t) => {
  const env = { FLAGS_PORT: '1', PORT: '2', FLAGS_LOG_LEVEL: '', LOG_LEVEL: 'WARN', FLAGS_ENVIRONMENT: 'staging' }
  t.match(read('--port 3', env), { port: 3, logLevel: 'warn', environment: 'staging' })
  t.match(read('', env), { port: 1 })
  t.match(read('', { PORT: '2' }), { port: 2 })
  t.match(read('--port=0'), { port: 0 })
})

t.test('of two stores the nearer one counts, and of two equally near ones neither', async (t) => {
  const url = 'redis://localhost:6379'
  t.strictSame(read('', { REDIS_URL: url }).store, { kind: 'redis', url })
  t.strictSame(read('', { REDIS_URL: url, FLAGS_FILE: 'a.json' }).store, { kind: 'file', path: 'a.json' })
  t.strictSame(read('--memory', { REDIS_URL: url, FLAGS_FILE: 'a.json' }).store, { kind: 'memory' })
  t.strictSame(read('', { FLAGS_MEMORY: 'true', REDIS_URL: url }).store, { kind: 'memory' })
  t.strictSame(read('', { FLAGS_MEMORY: 'false', REDIS_URL: url }).store, { kind: 'redis', url })
  t.throws(() => read('--memory --file a.json'), new UsageError('--file and --memory name two stores; leave one of them out'))
  t.throws(() => read('', { FLAGS_REDIS: url, FLAGS_FILE: 'a.json' }), new UsageError('FLAGS_REDIS and FLAGS_FILE name two stores; leave one of them out'))
})

t.test('every mistake is told with what to write instead', async (t) => {
  const cases: Array<[string, Env, RegExp]> = [
    ['--prot 1', {}, /^there is no option --prot; did you mean --port\?$/],
    ['--enviroment x', {}, /did you mean --environment\?/],
    ['--zzz', {}, /^there is no option --zzz$/],
    ['-p 1', {}, /^there is no option -p$/],
    ['extra', {}, /"extra" is one word too many/],
    ['--port', {}, /^--port needs a value: --port NUMBER$/],
    ['--port --dev', {}, /--port needs a value/],
    ['--port=', {}, /--port needs a value/],
    ['--port 1 --port 2', {}, /--port is given twice/],
    ['--dev=yes', {}, /--dev takes no value/],
    ['--port 80a', {}, /--port is "80a"; a port is a whole number from 0 to 65535/],
    ['--port -1', {}, /--port needs a value/],
    ['--port=-1', {}, /a whole number/],
    ['', { PORT: '65536' }, /PORT is "65536"/],
    ['--redis localhost:6379', {}, /--redis is no URL of a Redis; write it as redis:\/\/localhost:6379/],
    ['', { REDIS_URL: 'http://x' }, /REDIS_URL is no URL of a Redis/],
    ['--redis cache', {}, /--redis is no URL of a Redis; write it as redis:/],
    ['--redis valkey://cache', {}, /write it as redis:/],
    ['--redis redis://cache/shop', {}, /--redis ends in what is no number of a database/],
    ['--redis redis://:50%@cache', {}, /a "%" in its user or password .* write it as %25/],
    ['--redis redis://a:6379,b:6379', {}, /--redis names several servers in one URL; a Cluster is written with a URL for each node, such as redis:\/\/10/],
    ['--redis redis://a,b', {}, /several servers/],
    ['--redis redis://a,b:6379', {}, /several servers/],
    ['--redis redis://a:26379,b:26379/mymaster', {}, /several servers in one URL; Sentinels are written as sentinel:/],
    ['--redis redis://a,', {}, /several servers/],
    ['', { FLAGS_REDIS: 'cluster://a,b' }, /FLAGS_REDIS is no URL of a Redis; a Cluster is written with a URL for each node/],
    ['', { FLAGS_REDIS: 'redis-cluster://a,b' }, /a Cluster is written/],
    ['', { FLAGS_REDIS: 'redis+sentinel://a,b/mymaster' }, /Sentinels are written as sentinel:/],
    ['--redis redis://a,b:6379,redis://c', {}, /several servers/],
    ['--redis redis://a,rediss://b', {}, /mixes redis:\/\/ and rediss:/],
    ['--redis redis://a,http://b', {}, /write it as redis:/],
    ['--redis redis://a,sentinel://b/mymaster', {}, /write it as redis:/],
    ['--redis redis://a/1,redis://b/1', {}, /a Cluster has one only/],
    ['--redis redis://a,redis://b?password=x', {}, /options behind a "\?"/],
    ['--redis redis://:one@a,redis://:two@b', {}, /different users or passwords; write the one that counts for all in the first URL/],
    ['--redis sentinel://a:26379,b:26379', {}, /--redis leaves out the name .*; Sentinels are written as sentinel:\/\/10.0.0.1:26379,10.0.0.2:26379\/mymaster$/],
    ['--redis sentinel:///mymaster', {}, /cannot be read; Sentinels are written/],
    ['--redis sentinel://a:port/mymaster', {}, /cannot be read/],
    ['--redis sentinel://a/mymaster,sentinel://b/mymaster', {}, /cannot be read/],
    ['--redis sentinel://a/mymaster/shop', {}, /cannot be read/],
    ['--redis sentinel://a/mymaster?tls=true', {}, /there are sentinelUsername and sentinelPassword/],
    ['--environment a/b', {}, /--environment is "a\/b"; use 1 to 100 letters/],
    ['--namespace __proto__', {}, /--namespace is/],
    ['--trust proxy', {}, /--trust is local, none, all, or a list of proxies .* "proxy" is none of these/],
    ['--trust 10.0.0.0/33', {}, /"10.0.0.0\/33" is none of these/],
    ['--trust ,', {}, /--trust is empty/],
    ['--request-timeout 0', {}, /--request-timeout is "0"; it is a whole number of seconds/],
    ['--log-level loud', {}, /--log-level is "loud"; it is one of fatal, error/],
    ['--evaluation closed', {}, /--evaluation is "closed"; the one thing it can be is open/],
    ['', { FLAGS_DEV: 'maybe' }, /FLAGS_DEV is "maybe"; set it to true or false/],
    ['--host 0.0.0.0', {}, /FLAGS_EVALUATION_TOKENS=name=secret .* --evaluation open/],
    ['--host example.com', {}, /other machines could ask/],
    ['--host 0.0.0.0 --dev --evaluation open', {}, /--dev is for this machine only, and 0.0.0.0 can be reached from others/],
    ['--evaluation open', { FLAGS_EVALUATION_TOKENS: `shop=${secret('shop')}` }, /leave one of them out/]
  ]
  for (const [line, env, message] of cases) {
    const error = t.throws(() => read(line, env), { message }, `${line} ${JSON.stringify(env)}`)
    t.ok(error instanceof UsageError)
  }
})

t.test('a secret on the command line is refused with the variable it belongs in, and is not repeated', async (t) => {
  for (const [option, variable] of [['--admin-tokens', 'FLAGS_ADMIN_TOKENS'], ['--token', 'FLAGS_ADMIN_TOKENS'], ['--read-token', 'FLAGS_READ_TOKENS'], ['--evaluation-tokens', 'FLAGS_EVALUATION_TOKENS'], ['--browser-tokens', 'FLAGS_BROWSER_TOKENS']] as const) {
    t.throws(() => read(`${option} alice=hunter2`), { message: new RegExp(`^${option} is no option: .* set ${variable}=name=secret$`) })
    t.throws(() => read(`${option}=alice=hunter2`), { message: /^((?!hunter2).)*$/ })
  }
})

t.test('tokens are read by name, a name as often as it has secrets, and a bad one is told without its secret', async (t) => {
  const tokens = read('', { FLAGS_ADMIN_TOKENS: `alice=${secret('a')}==, ci=${secret('c')},alice=${secret('b')},` }).tokens.admin
  t.strictSame({ ...tokens }, { alice: [`${secret('a')}==`, secret('b')], ci: [secret('c')] })
  const wrong = (value: string, message: RegExp) => t.throws(() => read('', { FLAGS_ADMIN_TOKENS: value }), { message })
  wrong(secret('x'), /^FLAGS_ADMIN_TOKENS is wrong at entry 1; write it as name=secret,name=secret/)
  wrong(`alice=${secret('a')},=${secret('x')}`, /entry 2/)
  wrong('alice=', /entry 1/)
  wrong('alice=hunter2', /^FLAGS_ADMIN_TOKENS\["alice"\] must be a secret of at least 16 characters; make one with: openssl rand -hex 32$/)
  wrong(`a=${secret('x')},b=${secret('x')}`, /the same secret/)
  t.throws(() => read('', { FLAGS_ADMIN_TOKENS: `a=${secret('x')}`, FLAGS_BROWSER_TOKENS: `web=${secret('x')}` }), { message: /the same secret/ }, 'a front end\'s secret opens nothing else')
  t.equal({}.toString, Object.prototype.toString)
  t.strictSame(Object.entries(read('', { FLAGS_ADMIN_TOKENS: `__proto__=${secret('p')}` }).tokens.admin), [['__proto__', [secret('p')]]])
})

t.test('a token of those who ask may name the one environment it is for', async (t) => {
  const { evaluation, browser } = read('', { FLAGS_EVALUATION_TOKENS: `qa@staging=${secret('q')},qa=${secret('r')}, alice@mail@pre-prod.eu=${secret('s')}`, FLAGS_BROWSER_TOKENS: `web@staging=${secret('w')}` }).tokens
  t.strictSame({ ...evaluation }, { qa: [{ secret: secret('q'), environment: 'staging' }, secret('r')], 'alice@mail': [{ secret: secret('s'), environment: 'pre-prod.eu' }] })
  t.strictSame({ ...browser }, { web: [{ secret: secret('w'), environment: 'staging' }] })
  for (const name of ['@staging', 'qa@', 'qa@a/b', 'qa@__proto__']) t.throws(() => read('', { FLAGS_EVALUATION_TOKENS: `${name}=${secret('q')}` }), { message: `FLAGS_EVALUATION_TOKENS has "${name}"; write name@environment=secret` })
  t.strictSame({ ...read('', { FLAGS_ADMIN_TOKENS: `alice@example.com=${secret('a')}` }).tokens.admin }, { 'alice@example.com': [secret('a')] }, 'an admin token is for all')
})

t.test('beyond this machine it starts with tokens, or told to be open', async (t) => {
  t.match(read('--host 0.0.0.0 --evaluation open'), { host: '0.0.0.0', open: true })
  t.match(read('--host ::', { FLAGS_EVALUATION_TOKENS: `shop=${secret('shop')}` }), { open: false })
  t.match(read('--host 10.1.2.3', { FLAGS_BROWSER_TOKENS: `web=${secret('web')}` }), { open: false })
  t.match(read('', { FLAGS_HOST: '0.0.0.0', FLAGS_EVALUATION: 'open' }), { open: true })
  for (const host of ['127.0.0.1', '127.8.9.1', '::1', 'localhost']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '128.0.0.1', '127.0.0.1.example.com', '']) t.notOk(isLoopback(host), host)
})

t.test('whose headers count is one word, or a list of proxies', async (t) => {
  t.equal(read('--trust none').trust, false)
  t.equal(read('--trust false').trust, false)
  t.equal(read('--trust all').trust, 'all')
  t.strictSame(read('--trust 10.0.0.0/8,192.168.1.7,fd00::/8').trust, ['10.0.0.0/8', '192.168.1.7', 'fd00::/8'])
})

t.test('a variable that is nearly one of ours is warned of', async (t) => {
  t.strictSame(read('', { FLAGS_ADMIN_TOKEN: 'x', FLAGS_ENABLED: '1', FLAG_PORT: '1' }).warnings, ['the variable FLAGS_ADMIN_TOKEN does nothing; did you mean FLAGS_ADMIN_TOKENS?'])
})

t.test('a password on the command line is warned of', async (t) => {
  t.match(read('--redis redis://:hunter2@host').warnings, [/set FLAGS_REDIS instead$/])
  t.match(read('--redis sentinel://:hunter2@host/mymaster').warnings, [/set FLAGS_REDIS instead$/])
  t.strictSame(read('--redis redis://host').warnings, [])
  t.strictSame(read('', { REDIS_URL: 'redis://:hunter2@host' }).warnings, [])
})

t.test('help names every command, and each command\'s every option and variable', async (t) => {
  for (const [name, command] of commands) {
    t.match(help(), `  ${[name, ...command.words].join(' ')} `)
    const own = commandHelp(name, command)
    for (const [option, { env }] of Object.entries(command.options)) for (const word of [`--${option}`, ...env]) t.match(own, word)
    for (const line of [...help().split('\n'), ...own.split('\n')]) t.ok(line.length <= 125, line)
  }
  for (const { name } of Object.values(tokenVariables)) t.match(commandHelp('serve', commands.get('serve')!), name)
})

t.test('one text says one server, a Cluster or Sentinels', async (t) => {
  const cluster = readRedisText('redis://a:7000, redis://me:se%2Ccret@[::1]:7001,redis://c')
  t.match(cluster, { kind: 'cluster', nodes: ['redis://a:7000', 'redis://me:se%2Ccret@[::1]:7001', 'redis://c'], username: 'me', password: 'se,cret' })
  t.match(readRedisText('redis://:one,two@cache:6379/3'), { kind: 'server', url: 'redis://:one,two@cache:6379/3' }, 'a password may hold a comma')
  t.match(readRedisText('/run/redis.sock?password=x'), { kind: 'server', shown: '/run/redis.sock', hasPassword: true })
  t.strictSame(readRedisText('sentinel://a,[::1]:7000/my%20master'), {
    kind: 'sentinels',
    options: { sentinels: [{ host: 'a', port: 26379 }, { host: '::1', port: 7000 }], name: 'my master' },
    shown: 'sentinel://a,[::1]:7000/my%20master',
    hasPassword: false
  })
  t.match(readRedisText('sentinels://me:p%40ss@a:1/mymaster/2?sentinelUsername=you&sentinelPassword=w%26rd'), {
    options: { name: 'mymaster', db: 2, username: 'me', password: 'p@ss', sentinelUsername: 'you', sentinelPassword: 'w&rd', tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true },
    hasPassword: true
  })
})

t.test('a Redis is shown without its passwords, and a text that cannot be read is not shown', async (t) => {
  t.equal(withoutPassword('redis://user:hunter2@host:6379/1'), 'redis://user:***@host:6379/1')
  t.equal(withoutPassword('redis://host:6379'), 'redis://host:6379')
  t.equal(withoutPassword('redis://user:hunter2@a,redis://:hunter2@b:1?password=hunter2'), 'a Redis')
  t.equal(withoutPassword('redis://user:hunter2@a,redis://user:hunter2@b:1'), 'redis://user:***@a,redis://user:***@b:1')
  t.equal(withoutPassword('sentinel://user:hunter2@a:1,b/mymaster?sentinelPassword=hunter2'), 'sentinel://user:***@a:1,b/mymaster')
  t.equal(withoutPassword('sentinel://:hunter2@a/mymaster/1'), 'sentinel://:***@a/mymaster/1')
  for (const secret of ['redis://:hunter2', 'redis://:50%hunter2@a', 'hunter2@a', 'redis://:hunter2@a,b', 'sentinel://:hunter2@a', 'sentinel://:hunter2@a/m?password=hunter2', 'redis://:x@a,redis://:hunter2@b', 'cluster://:hunter2@a']) {
    t.throws(() => read('', { REDIS_URL: secret }), { message: /^((?!hunter2).)*$/ }, secret)
  }
})

t.test('the image and its composition set variables that there are, and copy files that there are', async (t) => {
  const [image, ignored, composition] = ['Dockerfile', 'Dockerfile.dockerignore', 'compose.yaml'].map((name) => readFileSync(`examples/sidecar/${name}`, 'utf8'))
  const known = [...Object.values(tokenVariables).map(({ name }) => name), ...Object.values(commands.get('serve')!.options).flatMap(({ env }) => env)]
  for (const [name] of `${image} ${composition}`.matchAll(/\bFLAGS_\w+/g)) t.ok(known.includes(name), name)
  for (const [, name] of image!.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) for (const file of name!.split(' ')) t.ok(existsSync(file) && ignored!.includes(`!${file}\n`), file)
  t.notMatch(image, /^ENV .*PORT/m, 'a platform may choose the port')
  t.match(image, /^USER node$/m)
  t.match(image, /^HEALTHCHECK .*\/healthz/m)
})
