import { Redis, type Cluster, type RedisOptions } from 'ioredis'
import { errors } from '../errors.js'
import { ClusterGuide, SentinelGuide } from './redis-guides.js'
import { connectorTo, jittered, type Address } from './redis-primary.js'
import { readRedisText } from './redis-text.js'

/** A Cluster: some of its nodes, as URLs or addresses, and beside them what ioredis takes for each (`username`, `password`, `tls`, `natMap` …). */
export interface ClusterConnection extends Omit<RedisOptions, 'host' | 'port' | 'path' | 'sentinels'> { nodes: Array<string | { host: string, port?: number }> }

/**
 * What a Redis store can be given: a URL, or what else `redis-text.ts` reads; ioredis's connection options (with `url` too, as
 * `@fastify/redis` takes them; or `{ sentinels, name }`), the nodes of a Cluster, an ioredis client or Cluster, `{ client }`,
 * or an app's `fastify.redis`.
 * A client is never used itself: ours is made from its options.
 */
export type RedisConnection = string | (RedisOptions & { url?: string }) | ClusterConnection | Redis | Cluster | { client: Redis | Cluster } | { [namespace: string]: Redis }

/** What turns a `RedisConnection` into connections of our own. */
export interface Connector {
  /** The client's `keyPrefix`, which then stands in our keys. */
  prefix: string
  /** Where it leads, for people; without user and password. */
  place: string
  /** Whether keys lie on several servers, so that each needs a connection to its own. */
  spread: boolean
  /** A connection to where `key` is, and may be written. */
  connect (key: string, override?: RedisOptions): Redis
  /** Asks a replica of that one, which may be behind. Rejects when none answers; left out where none is known. */
  askReplica? <T> (key: string, question: (client: Redis) => Promise<T>, signal: AbortSignal): Promise<T>
}

/**
 * Our own way to use a connection, whatever the app's is. Nothing queues and nothing is sent twice behind our back; a silent
 * peer is noticed because something is asked each second (`socketTimeout`), and a command it never answers ends (`commandTimeout`).
 */
const own = {
  protocol: 3, // one connection can then subscribe and ask, which keeps a wake-up and its read in order
  replyMapping: 'legacy',
  lazyConnect: true,
  connectTimeout: 2000,
  disconnectTimeout: 100, // a peer that is silent does not say goodbye
  socketTimeout: 2000,
  commandTimeout: 1500,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  enableReadyCheck: true,
  enableAutoPipelining: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  readOnly: false,
  stringNumbers: false,
  monitor: false,
  keyPrefix: '',
  scripts: undefined,
  himportFieldsets: undefined,
  retryStrategy: (attempt: number) => jittered(attempt),
  reconnectOnError: (error: Error) => /\bREADONLY\b/.test(error.message) // a former primary
} satisfies RedisOptions

/** Where another server takes over within seconds, waiting a whole one is long. */
const guided = { retryStrategy: (attempt: number) => jittered(attempt, 500) } satisfies RedisOptions

/** Throws INVALID_OPTION when it is none of the forms above. */
export function connectorOf (redis: RedisConnection): Connector {
  if (isCluster(redis)) return clusterOf(redis)
  if (isClient(redis)) return single({ ...redis.options })
  if (typeof redis === 'string') return written(redis)
  if (typeof redis !== 'object' || redis === null) throw wrong()
  if ('client' in redis && (isClient(redis.client) || isCluster(redis.client))) return connectorOf(redis.client)
  const clients = Object.entries(redis).filter(([, value]) => isClient(value) || isCluster(value))
  if (clients.length === 1) return connectorOf(clients[0]![1] as Redis)
  if (clients.length > 1) {
    throw new errors.INVALID_OPTION(`"redis" holds several clients; say which one, such as app.redis.${clients[0]![0]} (of ${clients.map(([name]) => name).join(', ')})`)
  }
  if ('nodes' in redis) return cluster(redis as ClusterConnection)
  const { url, ...options } = redis as RedisOptions & { url?: string }
  return url === undefined ? single(options) : written(url, options)
}

/** What a text says, and beside it what else was given. */
function written (text: string, options: RedisOptions = {}): Connector {
  const understood = readRedisText(text)
  if ('fault' in understood) throw new errors.INVALID_OPTION(`"redis" ${understood.fault}`)
  switch (understood.kind) {
    case 'server': return single({ ...parsed(text), ...options })
    case 'sentinels': return single({ ...understood.options, ...options })
    case 'cluster': {
      const { nodes, username, password } = understood
      return cluster({ username, password, ...options, nodes })
    }
  }
}

/** One server, or the primary that Sentinels tell. */
function single (options: RedisOptions): Connector {
  const { keyPrefix: prefix = '', sentinels, name, path, host, port } = options
  if (sentinels == null) {
    return { prefix, spread: false, place: path ?? `${host ?? 'localhost'}:${port ?? 6379}`, connect: (_key, override) => new Redis({ ...options, ...own, ...override }) }
  }
  if (sentinels.length === 0 || name === undefined) throw new errors.INVALID_OPTION('"redis.sentinels" must be the addresses of your Sentinels, and "redis.name" the name they know the primary by')
  const Connector = connectorTo(new SentinelGuide(options))
  return { prefix, spread: false, place: `the Sentinels of ${name}`, connect: (_key, override) => new Redis({ ...options, ...own, ...guided, Connector, ...override }) }
}

function cluster ({ nodes, ...options }: ClusterConnection): Connector {
  if (!Array.isArray(nodes) || nodes.length === 0) throw new errors.INVALID_OPTION('"redis.nodes" must list nodes of your Cluster, such as ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"]')
  const given = nodes.map((node): RedisOptions => typeof node === 'string' ? parsed(node) : node)
  const seeds = given.map(({ host = '127.0.0.1', port = 6379 }): Address => ({ host, port }))
  // A user or password may also stand in a node's URL.
  const { username, password, tls } = given[0]!
  const all: RedisOptions = { username, password, tls, ...options, db: 0 }
  return {
    prefix: options.keyPrefix ?? '',
    spread: true,
    place: `the Cluster of ${seeds.map(({ host, port }) => `${host}:${port}`).join(', ')}`,
    connect: (key, override) => {
      const guide = new ClusterGuide(key, seeds, all)
      const reconnectOnError = (error: Error) => guide.moved(error.message) || own.reconnectOnError(error)
      return new Redis({ ...all, ...own, ...guided, Connector: connectorTo(guide), reconnectOnError, ...override })
    },
    askReplica: async (key, question, signal) => await new ClusterGuide(key, seeds, all).askReplica(question, signal)
  }
}

/** Of an app's Cluster its nodes and how it reaches them. */
function clusterOf (client: Cluster): Connector {
  const { redisOptions, natMap, keyPrefix } = client.options
  // ioredis keeps them private, and knows no other way to ask for them before it is connected.
  const startup = Reflect.get(client, 'startupNodes') as Array<string | number | { host?: string, port?: number | string }>
  const nodes = startup.map((node) => {
    if (typeof node === 'number') return { host: '127.0.0.1', port: node }
    if (typeof node === 'string') return node.includes('://') ? node : `redis://${node}`
    return { ...node, host: node.host ?? '127.0.0.1', port: Number(node.port ?? 6379) }
  })
  return cluster({ ...redisOptions, natMap: natMap ?? undefined, keyPrefix, nodes })
}

/** A URL's own parts as options. The URL itself is never shown: it may hold a password. */
function parsed (url: string): RedisOptions {
  const understood = readRedisText(url)
  if ('fault' in understood) throw new errors.INVALID_OPTION(`"redis" ${understood.fault}`)
  if (understood.kind !== 'server') throw new errors.INVALID_OPTION('"redis.nodes" must list nodes of a Cluster, each by itself')
  const client = new Redis(url, { lazyConnect: true })
  client.disconnect()
  return client.options
}

function wrong () {
  return new errors.INVALID_OPTION('"redis" must be a URL, the connection options of ioredis, { nodes } of a Cluster, an ioredis client or Cluster, or app.redis of @fastify/redis')
}

// By shape, because the app's ioredis may be another copy than ours.
function isClient (value: unknown): value is Redis {
  return typeof value === 'object' && value !== null && 'duplicate' in value && 'defineCommand' in value && !isCluster(value)
}

function isCluster (value: unknown): value is Cluster {
  return typeof value === 'object' && value !== null && 'isCluster' in value && value.isCluster === true
}

/** Ends a connection in whatever state it is, without waiting for a peer that may be silent. */
export async function hangUp (client: Redis): Promise<void> {
  const idle = client.status === 'reconnecting' || client.status === 'end'
  const ended = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, idle ? 0 : 500)
    client.once('end', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  client.disconnect()
  client.stream?.destroy()
  await ended
}
