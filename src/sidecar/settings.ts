import { BlockList, isIP } from 'node:net'
import { isFlagsError } from '../errors.js'
import { isKey } from '../model/key.js'
import { nearest } from '../model/nearest.js'
import { checkCors, type Cors } from '../routes/cors.js'
import { splitUrl } from '../routes/public-url.js'
import { parseRange } from '../plugin/trust.js'
import { readRedisText } from '../store/redis-text.js'
import { UsageError } from './failures.js'
import { chosen, readOptions, type Env, type Given, type Option } from './options.js'
import { isEmpty, readTokenSettings, tokenVariables, type TokenSettings } from './token-settings.js'

export const serveOptions = {
  redis: { value: 'URL', env: ['FLAGS_REDIS', 'REDIS_URL'], help: 'keep the flags in Redis: redis://localhost:6379 (rediss:// with TLS); a Cluster: redis://HOST:6379,redis://HOST:6379; behind Sentinels: sentinel://HOST:26379,HOST:26379/NAME (sentinels:// with TLS)' },
  file: { value: 'PATH', env: ['FLAGS_FILE'], help: 'keep them in a JSON file, created if missing (default ./flags.json)' },
  memory: { env: ['FLAGS_MEMORY'], help: 'keep them in memory; they are gone when it ends' },
  host: { value: 'ADDRESS', env: ['FLAGS_HOST'], help: 'where to listen (default 127.0.0.1: this machine only)' },
  port: { value: 'NUMBER', env: ['FLAGS_PORT', 'PORT'], help: '(default 8080; 0 takes a free one)' },
  environment: { value: 'NAME', env: ['FLAGS_ENVIRONMENT'], help: 'which environment to answer for (default production)' },
  namespace: { value: 'NAME', env: ['FLAGS_NAMESPACE'], help: 'keeps sets of flags apart in one Redis (default flags)' },
  'snapshot-file': { value: 'PATH', env: ['FLAGS_SNAPSHOT_FILE'], help: 'keeps what was last known here, to start from when the store does not answer' },
  trust: { value: 'WHOM', env: ['FLAGS_TRUST'], help: 'whose X-User-… headers count: local (default: this machine, no proxy between), none, all, or proxies that overwrite them, such as 10.0.0.0/8,192.168.1.7' },
  'request-timeout': { value: 'SECONDS', env: ['FLAGS_REQUEST_TIMEOUT'], help: 'how long a request may take to arrive whole (default 10)' },
  'public-url': { value: 'URL', env: ['FLAGS_PUBLIC_URL'], help: 'the URL under which clients reach it, where a proxy before it changes that, such as https://example.com/flags' },
  cors: { value: 'ORIGINS', env: ['FLAGS_CORS'], help: 'whose pages may ask, such as https://shop.example,http://localhost:5173, or all' },
  evaluation: { value: 'open', env: ['FLAGS_EVALUATION'], help: 'answer without a token, also beyond this machine' },
  'log-level': { value: 'LEVEL', env: ['FLAGS_LOG_LEVEL', 'LOG_LEVEL'], help: 'fatal, error, warn, info (default), debug (tells each request), trace or silent' },
  dev: { env: ['FLAGS_DEV'], help: 'for trying things on this machine: makes an admin token and prints it' }
} as const satisfies Record<string, Option>

export interface Settings {
  store: { kind: 'redis', url: string } | { kind: 'file', path: string } | { kind: 'memory' }
  host: string
  port: number
  environment: string
  namespace: string
  snapshotFile?: string
  trust: 'local' | 'all' | false | string[]
  /** Milliseconds that a request may take to arrive whole. */
  requestTimeout: number
  /** Where clients reach the root of it, if not where it listens; without a slash at its end, for paths come behind it. */
  publicUrl?: string
  cors?: Cors
  logLevel: string
  dev: boolean
  /** Whether the evaluation routes answer without a token. */
  open: boolean
  tokens: TokenSettings
  /** What is allowed and yet probably not meant. */
  warnings: string[]
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** Options and environment to settings; throws a UsageError that says what to write instead. */
export function readSettings (argv: readonly string[], env: Env): Settings {
  return settingsOf(readOptions(serveOptions, argv, env), env)
}

export function settingsOf (given: Map<string, Given>, env: Env): Settings {
  const text = (name: keyof typeof serveOptions, fallback: string) => given.get(name)?.text ?? fallback
  const tokens = readTokenSettings(env)
  const host = text('host', '127.0.0.1')
  const dev = given.has('dev')
  if (dev && !isLoopback(host)) {
    throw new UsageError(`--dev is for this machine only, and ${host} can be reached from others; leave out --dev and set FLAGS_ADMIN_TOKENS=name=secret, or leave out --host`)
  }
  const closed = isEmpty(tokens.evaluation) && isEmpty(tokens.browser)
  const open = given.get('evaluation')
  if (open !== undefined && open.text !== 'open') throw new UsageError(`${open.from} is "${open.text}"; the one thing it can be is open`)
  if (open !== undefined && !closed) throw new UsageError(`${open.from} open answers everybody, and FLAGS_EVALUATION_TOKENS or FLAGS_BROWSER_TOKENS asks for tokens; leave one of them out`)
  if (closed && open === undefined && !isLoopback(host)) {
    throw new UsageError(`on ${host} other machines could ask for any user's flags; set FLAGS_EVALUATION_TOKENS=name=secret and let callers send "Authorization: Bearer secret", or add --evaluation open if the network itself is closed`)
  }
  return {
    store: readStore(given),
    host,
    port: readPort(given.get('port')),
    environment: readKey(given.get('environment'), 'production'),
    namespace: readKey(given.get('namespace'), 'flags'),
    snapshotFile: given.get('snapshot-file')?.text,
    trust: readTrust(given.get('trust')),
    requestTimeout: readTimeout(given.get('request-timeout')),
    publicUrl: readPublicUrl(given.get('public-url')),
    cors: readCors(given.get('cors')),
    logLevel: readLogLevel(given.get('log-level')),
    dev,
    open: closed,
    tokens,
    warnings: [...misspelt(env), ...shown(given.get('redis'))]
  }
}

function readStore (given: Map<string, Given>): Settings['store'] {
  const store = chosen(given, ['redis', 'file', 'memory'], 'stores')
  if (store === undefined) return { kind: 'file', path: './flags.json' }
  if (store.name === 'memory') return { kind: 'memory' }
  if (store.name === 'file') return { kind: 'file', path: store.text }
  return { kind: 'redis', url: readRedis(store) }
}

/** One server, a Cluster or Sentinels, as `store/redis-text.ts` has them. */
export function readRedis ({ text, from }: Given): string {
  const understood = readRedisText(text)
  if ('fault' in understood) throw new UsageError(`${from} ${understood.fault}`)
  return text
}

function readPort (port: Given | undefined): number {
  if (port === undefined) return 8080
  const number = Number(port.text)
  if (!/^\d+$/.test(port.text) || number > 65535) throw new UsageError(`${port.from} is "${port.text}"; a port is a whole number from 0 to 65535`)
  return number
}

function readTimeout (timeout: Given | undefined): number {
  if (timeout === undefined) return 10_000
  const seconds = /^\d{1,4}$/.test(timeout.text) ? Number(timeout.text) : NaN
  if (!(seconds >= 1 && seconds <= 3600)) throw new UsageError(`${timeout.from} is "${timeout.text}"; it is a whole number of seconds from 1 to 3600`)
  return seconds * 1000
}

export function readKey (key: Given | undefined, fallback: string): string {
  if (key === undefined) return fallback
  if (!isKey(key.text)) throw new UsageError(`${key.from} is "${key.text}"; use 1 to 100 letters, digits, ".", "_", ":" or "-", beginning with a letter or digit`)
  return key.text
}

function readTrust (trust: Given | undefined): Settings['trust'] {
  if (trust === undefined || trust.text === 'local') return 'local'
  if (trust.text === 'all') return 'all'
  if (trust.text === 'none' || trust.text === 'false') return false
  const proxies = trust.text.split(',').map((proxy) => proxy.trim()).filter((proxy) => proxy !== '')
  if (proxies.length === 0) throw new UsageError(`${trust.from} is empty; it is local, none, all, or a list of proxies such as 10.0.0.0/8,192.168.1.7`)
  const wrong = proxies.find((proxy) => parseRange(proxy) === undefined)
  if (wrong !== undefined) throw new UsageError(`${trust.from} is local, none, all, or a list of proxies such as 10.0.0.0/8,192.168.1.7, and "${wrong}" is none of these`)
  return proxies
}

function readPublicUrl (publicUrl: Given | undefined): string | undefined {
  if (publicUrl === undefined) return undefined
  try {
    const { origin, path } = splitUrl(publicUrl.text)
    return origin + path
  } catch {
    throw new UsageError(`${publicUrl.from} is "${publicUrl.text}"; it is the URL under which clients reach this server, such as https://example.com/flags`)
  }
}

function readCors (cors: Given | undefined): Cors | undefined {
  if (cors === undefined) return undefined
  if (cors.text === 'all' || cors.text === '*') return true
  const origins = cors.text.split(',').map((origin) => origin.trim()).filter((origin) => origin !== '')
  try {
    checkCors(origins, cors.from)
  } catch (error) {
    throw isFlagsError(error) ? new UsageError(`${error.message}; or write all`) : error
  }
  return origins
}

function readLogLevel (level: Given | undefined): string {
  if (level === undefined) return 'info'
  const name = level.text.toLowerCase()
  if (!logLevels.includes(name)) throw new UsageError(`${level.from} is "${level.text}"; it is one of ${logLevels.join(', ')}`)
  return name
}

/** Variables that begin as ours do and nearly have a name of ours: FLAGS_ADMIN_TOKEN would quietly do nothing. */
function misspelt (env: Env): string[] {
  const known = [...Object.values(tokenVariables).map(({ name }) => name), 'FLAGS_URL', 'FLAGS_TOKEN', ...Object.values(serveOptions).flatMap(({ env }) => env)]
  return Object.keys(env).filter((name) => name.startsWith('FLAGS_') && !known.includes(name)).flatMap((name) => {
    const meant = nearest(name, known)
    return meant === undefined ? [] : [`the variable ${name} does nothing; did you mean ${meant}?`]
  })
}

/** A password within a URL is wanted where it is; a command line is a poor place for it. */
function shown (redis: Given | undefined): string[] {
  if (redis?.from !== '--redis') return []
  const understood = readRedisText(redis.text)
  return 'hasPassword' in understood && understood.hasPassword ? ['every user of this machine can read the password in --redis; set FLAGS_REDIS instead'] : []
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether only this machine can reach what listens there. */
export function isLoopback (host: string): boolean {
  return host === 'localhost' || (isIP(host) !== 0 && loopback.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6'))
}
