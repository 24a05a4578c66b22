import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { errors } from '../errors.js'

/**
 * What a Redis store can be given: a URL, ioredis's connection options (with `url` too, as `@fastify/redis` takes them), an
 * ioredis client or Cluster, `{ client }`, or an app's `fastify.redis`. A client is never used itself: ours is made from its options.
 */
export type RedisConnection = string | (RedisOptions & { url?: string }) | Redis | Cluster | { client: Redis | Cluster } | { [namespace: string]: Redis }

/** What turns a `RedisConnection` into connections of our own; `prefix` is the client's `keyPrefix`, which then stands in our keys. */
export interface Connector { prefix: string, connect (override?: RedisOptions): Redis | Cluster }

/**
 * Our own way to use a connection, whatever the app's is. Nothing queues and nothing is sent twice behind our back; a silent
 * peer is noticed because something is asked each second (`socketTimeout`), and a command it never answers ends (`commandTimeout`).
 */
const own = {
  protocol: 3, // one connection can then subscribe and ask, which keeps a wake-up and its read in order
  replyMapping: 'legacy',
  lazyConnect: true,
  connectTimeout: 2000,
  socketTimeout: 2000,
  commandTimeout: 1500,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  enableReadyCheck: true,
  enableAutoPipelining: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  failoverDetector: true,
  readOnly: false,
  stringNumbers: false,
  monitor: false,
  keyPrefix: '',
  scripts: undefined,
  himportFieldsets: undefined,
  retryStrategy: jittered,
  sentinelRetryStrategy: jittered,
  reconnectOnError: (error: Error) => /\bREADONLY\b/.test(error.message) // a former primary
} satisfies RedisOptions

/** Milliseconds until the next attempt: doubling to a second, never the same for all processes, never giving up. */
function jittered (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 10), 1000) * (0.5 + Math.random() / 2)
}

/** Throws INVALID_OPTION when it is none of the forms above. */
export function connectorOf (redis: RedisConnection): Connector {
  if (isCluster(redis)) {
    return {
      prefix: redis.options.keyPrefix ?? '',
      connect: () => redis.duplicate([], {
        lazyConnect: true,
        enableOfflineQueue: false,
        enableAutoPipelining: false,
        scaleReads: 'master',
        keyPrefix: '',
        clusterRetryStrategy: jittered,
        redisOptions: { ...redis.options.redisOptions, ...own, ...{ retryStrategy: undefined, enableOfflineQueue: undefined } }
      })
    }
  }
  if (isClient(redis)) return standalone({ ...redis.options })
  if (typeof redis === 'string') return standalone({ ...parsed(redis) })
  if (typeof redis !== 'object' || redis === null) throw wrong()
  if ('client' in redis && (isClient(redis.client) || isCluster(redis.client))) return connectorOf(redis.client)
  const clients = Object.entries(redis).filter(([, value]) => isClient(value) || isCluster(value))
  if (clients.length === 1) return connectorOf(clients[0]![1] as Redis)
  if (clients.length > 1) {
    throw new errors.INVALID_OPTION(`"redis" holds several clients; say which one, such as app.redis.${clients[0]![0]} (of ${clients.map(([name]) => name).join(', ')})`)
  }
  const { url, ...options } = redis as RedisOptions & { url?: string }
  return standalone(url === undefined ? options : { ...parsed(url), ...options })
}

function standalone (options: RedisOptions): Connector {
  return {
    prefix: options.keyPrefix ?? '',
    connect: (override) => new Redis({ ...options, ...own, ...override })
  }
}

/** A URL's own parts as options. The URL itself is never shown: it may hold a password. */
function parsed (url: string): RedisOptions {
  if (url.startsWith('/')) return { path: url }
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new errors.INVALID_OPTION('"redis" must be a URL such as redis://localhost:6379, or rediss:// for TLS')
  }
  const client = new Redis(url, { lazyConnect: true })
  client.disconnect()
  return client.options
}

function wrong () {
  return new errors.INVALID_OPTION('"redis" must be a URL, the connection options of ioredis, an ioredis client or Cluster, or app.redis of @fastify/redis')
}

// By shape, because the app's ioredis may be another copy than ours.
function isClient (value: unknown): value is Redis {
  return typeof value === 'object' && value !== null && 'duplicate' in value && 'defineCommand' in value && !isCluster(value)
}

function isCluster (value: unknown): value is Cluster {
  return typeof value === 'object' && value !== null && 'isCluster' in value && value.isCluster === true
}
