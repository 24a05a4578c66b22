import { errors } from './errors.js'
import type { Flag } from './model/flag.js'
import { isKey } from './model/key.js'
import { nearest } from './model/nearest.js'
import type { Segment } from './model/segment.js'
import type { ContextFunction, HeaderNames } from './plugin/request-context.js'
import type { AdminOptions } from './routes/admin.js'
import type { EvaluationOptions } from './routes/evaluation.js'
import type { OfrepOptions } from './routes/ofrep.js'
import type { RedisConnection } from './store/redis-connection.js'
import { readRedisText } from './store/redis-text.js'
import type { Store } from './store/store.js'
import { parseRange, type Trust } from './plugin/trust.js'

export interface FlagsOptions {
  /** Where flags are kept: any Store, `'memory'`, or `{ file }`, the path of a JSON file. Default: Redis if `redis` is given, else memory. */
  store?: Store | 'memory' | { file: string }
  /** The app's `fastify.redis`, an ioredis client or Cluster, none of which is used itself; or how to connect: a URL (`sentinel://…/name` and a list of a Cluster's URLs included), what ioredis and @fastify/redis take, Sentinels included, or `{ nodes }` of a Cluster. */
  redis?: RedisConnection
  /** Keeps sets of flags apart in one Redis; default `flags`. */
  namespace?: string
  /** Which environment's flags are served; default `production`. */
  environment?: string
  /** Which headers say who asks; default `x-user-id`, `x-user-groups`, `x-region`. Any other name is an attribute: `{ plan: 'x-plan' }`. */
  headers?: { user?: string, groups?: string, region?: string, [attribute: string]: string | undefined }
  /** Whose identity headers count; default `'local'`. */
  trust?: Trust
  /** Says who asks, in place of the headers: from a session or a verified token. Synchronous; called when a request's flags first need it. */
  context?: ContextFunction
  /** Flags served, STALE, until the store first answers. */
  bootstrap?: { flags: Record<string, Flag>, segments?: Record<string, Segment> }
  /** The path of a file that holds what was last known; served, STALE, in place of `bootstrap` when the store does not answer at the start. */
  snapshotFile?: string
  /** Milliseconds without contact to the store until the status is STALE; default 5,000. */
  staleAfter?: number
  /** Registers the admin routes, under `/admin` unless a prefix says otherwise; left out, there are none. */
  admin?: AdminOptions
  /** Registers the evaluation routes, plain and OpenFeature's (OFREP); left out, there are none. */
  evaluation?: EvaluationOptions & OfrepOptions
}

/** The options, checked, with defaults in place. */
export interface Settings {
  store: { kind: 'own', store: Store } | { kind: 'memory', given: boolean } | { kind: 'file', file: string } | { kind: 'redis', redis: RedisConnection }
  namespace: string
  environment: string
  headers: HeaderNames
  trust: Trust
  context?: ContextFunction
  bootstrap?: FlagsOptions['bootstrap']
  snapshotFile?: string
  staleAfter: number
  admin?: AdminOptions
  evaluation?: EvaluationOptions & OfrepOptions
}

/** What each option must be; a check answers with false, or with a sentence that tells more. */
const checks: { [Name in keyof Required<FlagsOptions>]: { must: string, check: (value: unknown) => boolean | string } } = {
  store: { must: 'a store, "memory", or { file: "flags.json" }', check: (value) => value === 'memory' || isStore(value) || isFile(value) },
  redis: { must: 'a client (app.redis, new Redis(…)), a URL such as "redis://localhost:6379" or "sentinel://10.0.0.1:26379/mymaster", ioredis options such as { host, port } or { sentinels, name }, or { nodes } of a Cluster', check: checkRedis },
  namespace: { must: 'a text of 1 to 100 letters, digits, ".", "_", ":" or "-"', check: isKey },
  environment: { must: 'a name of 1 to 100 letters, digits, ".", "_", ":" or "-", such as "production"', check: isKey },
  headers: { must: 'an object of header names such as { user: "x-user-id", plan: "x-plan" }', check: checkHeaders },
  trust: { must: '"local", "all", false, a list of addresses and CIDR ranges such as ["10.0.0.0/8"], or a function of the socket', check: checkTrust },
  context: { must: 'a function that takes the request and returns a context such as { targetingKey: "alice" }', check: (value) => typeof value === 'function' },
  bootstrap: { must: 'an object such as { flags: { "new-checkout": { enabled: true } } }', check: (value) => isObject(value) && isObject(value.flags) && (value.segments === undefined || isObject(value.segments)) },
  snapshotFile: { must: 'the path of a file, such as "flags.snapshot"', check: (value) => typeof value === 'string' && value !== '' },
  staleAfter: { must: 'a number of milliseconds, more than 0', check: (value) => typeof value === 'number' && value > 0 && Number.isFinite(value) },
  admin: { must: 'an object such as { tokens: { alice: process.env.ALICE_TOKEN } }', check: (value) => checkRoutes(value, 'admin', ['prefix', 'tokens', 'readTokens', 'authorize', 'openapi']) },
  evaluation: { must: 'an object such as { prefix: "/feature", tokens: { backend: process.env.TOKEN } }', check: (value) => checkRoutes(value, 'evaluation', ['prefix', 'tokens', 'browserTokens', 'identity', 'publicUrl', 'cors', 'maxStreams', 'openapi']) }
}

/** The one check. Throws an INVALID_OPTION that says what was given and what is allowed, and never shows what may be a secret. */
export function checkOptions (options: FlagsOptions): Settings {
  for (const name of Object.keys(options)) if (!Object.hasOwn(checks, name)) refuseUnknown(name)
  for (const [name, { must, check }] of Object.entries(checks)) {
    const value: unknown = options[name as keyof FlagsOptions]
    if (value === undefined) continue
    const answer = check(value)
    if (answer !== true) throw new errors.INVALID_OPTION(`fastify-flags: the option ${name} must be ${must}${answer === false ? `, not ${describe(value, name)}` : `; ${answer}`}`)
  }
  checkTogether(options)
  const { store, redis, namespace = 'flags', environment = 'production', headers, trust = 'local', context, bootstrap, snapshotFile, staleAfter = 5000, admin, evaluation } = options
  return { store: chooseStore(store, redis), namespace, environment, headers: nameHeaders(headers), trust, context, bootstrap, snapshotFile, staleAfter, admin, evaluation }
}

function refuseUnknown (name: string): never {
  const names = Object.keys(checks)
  const hint = name === 'prefix' ? 'the plugin itself has no routes; give admin.prefix or evaluation.prefix' : suggest(name, names)
  throw new errors.INVALID_OPTION(`fastify-flags: there is no option ${name}; ${hint}`)
}

function suggest (name: string, names: string[]): string {
  const meant = nearest(name, names)
  return meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`
}

function checkTogether (options: FlagsOptions): void {
  const refuse = (sentence: string) => { throw new errors.INVALID_OPTION(`fastify-flags: ${sentence}`) }
  const { store, redis, headers, trust, context } = options
  if (store !== undefined && redis !== undefined) refuse('the options store and redis both say where flags are kept; give one of them')
  // An app whose client is missing must not find itself in memory.
  if (store === undefined && redis === undefined && 'redis' in options) refuse('the option redis is undefined; is @fastify/redis registered before, and awaited? To keep flags in memory leave redis out')
  if (context !== undefined && headers !== undefined) refuse('the option context replaces the headers, and headers is given too; give one of them')
  if (context !== undefined && trust !== undefined) refuse('the option trust says whose identity headers count, but with context no header is read; give one of them')
}

function chooseStore (store: FlagsOptions['store'], redis: RedisConnection | undefined): Settings['store'] {
  if (store === 'memory') return { kind: 'memory', given: true }
  if (isStore(store)) return { kind: 'own', store }
  if (store !== undefined) return { kind: 'file', file: store.file }
  return redis === undefined ? { kind: 'memory', given: false } : { kind: 'redis', redis }
}

function nameHeaders (headers: FlagsOptions['headers'] = {}): HeaderNames {
  const names: HeaderNames = { user: 'x-user-id', groups: 'x-user-groups', region: 'x-region' }
  for (const [what, name] of Object.entries(headers)) if (name !== undefined) names[what] = name.toLowerCase()
  return names
}

const methods = ['read', 'write', 'watch', 'history', 'close']

function isStore (value: unknown): value is Store {
  return isObject(value) && methods.every((method) => typeof value[method] === 'function')
}

function isFile (value: unknown): boolean {
  return isObject(value) && typeof value.file === 'string' && value.file !== '' && Object.keys(value).length === 1
}

// The Redis store takes the forms apart; this is what would otherwise be taken for something else, or not looked at.
function checkRedis (value: unknown): boolean | string {
  if (typeof value === 'string') return isRedisText(value) || `the text given ${faultOf(value)}`
  if (!isObject(value)) return false
  if (isClient(value)) return true
  if (typeof value.sendCommand === 'function') return 'what is given is a client of another package than ioredis; give { url }'
  if ('closeClient' in value) return 'redis.closeClient means nothing here: what the plugin opens it closes, and nothing else'
  if ('client' in value && !isClient(value.client)) return 'redis.client is no ioredis client or Cluster'
  if (typeof value.namespace === 'string') return 'redis.namespace names a client of @fastify/redis; give that client, or to keep sets of flags apart the option namespace'
  if ('sentinels' in value && (!isList(value.sentinels) || typeof value.name !== 'string')) return 'redis.sentinels must be a list such as [{ host: "10.0.0.1", port: 26379 }], and redis.name the name the Sentinels know the primary by'
  if ('nodes' in value && (!isList(value.nodes) || !value.nodes.every((node) => isRedisText(node, 'server') || (isObject(node) && typeof node.host === 'string')))) return 'redis.nodes must list nodes of the Cluster, such as ["redis://10.0.0.1:6379", { host: "10.0.0.2", port: 6379 }]'
  if ('redisOptions' in value) return 'redis.redisOptions is not known here; what holds for every node stands beside redis.nodes'
  if ('url' in value && value.url === undefined) return 'redis.url is undefined; is the environment variable set?'
  return !('url' in value) || isRedisText(value.url) || `redis.url ${faultOf(value.url)}`
}

function isList (value: unknown): value is unknown[] {
  return Array.isArray(value) && value.length > 0
}

function isClient (value: unknown): boolean {
  return isObject(value) && ('defineCommand' in value || value.isCluster === true)
}

function isRedisText (value: unknown, kind?: 'server'): boolean {
  const understood = typeof value === 'string' ? readRedisText(value) : undefined
  return understood !== undefined && !('fault' in understood) && (kind === undefined || understood.kind === kind)
}

function faultOf (value: unknown): string {
  const understood = typeof value === 'string' ? readRedisText(value) : undefined
  return understood !== undefined && 'fault' in understood ? understood.fault : 'must be a text'
}

function checkHeaders (value: unknown): boolean | string {
  if (!isObject(value)) return false
  for (const [what, name] of Object.entries(value)) {
    if (what === 'targetingKey') return 'the header of the targeting key is called user'
    if (what === '' || what in Object.prototype) return `"${what}" cannot be an attribute`
    if (name !== undefined && (typeof name !== 'string' || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(name))) return `headers.${what} is ${describe(name, 'headers')}, which is no name of a header`
  }
  return true
}

function checkTrust (value: unknown): boolean | string {
  if (value === 'local' || value === 'all' || value === false || typeof value === 'function') return true
  if (!Array.isArray(value)) return false
  const wrong = value.find((range) => typeof range !== 'string' || parseRange(range) === undefined)
  return wrong === undefined || `${describe(wrong, 'trust')} is neither an address nor a CIDR range`
}

/** Of a route group only the names and the prefix; the rest is its own to check. */
function checkRoutes (value: unknown, group: string, names: string[]): boolean | string {
  if (!isObject(value)) return false
  const unknown = Object.keys(value).find((name) => !names.includes(name))
  if (unknown !== undefined) return `there is no ${group}.${unknown}; ${suggest(unknown, names)}`
  const { prefix } = value
  return prefix === undefined || (typeof prefix === 'string' && /^(\/.*[^/])?$/.test(prefix)) || `${group}.prefix must begin with a slash and not end with one, such as "/${group}"`
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value for people. What is under `redis` or `bootstrap` may be secret or long: of these only the kind is told. */
function describe (value: unknown, name: string): string {
  if (name !== 'redis' && typeof value === 'string') return JSON.stringify(value)
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? `an object with ${Object.keys(value).join(', ') || 'nothing in it'}` : `a ${typeof value}`
}
