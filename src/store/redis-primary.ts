import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'

export interface Address { host: string, port: number }

/** Who knows which server holds our keys and takes writes: Sentinels, or the nodes of a Cluster. It may be another one each time. */
export interface Guide {
  /** Asks for it anew. Rejects when nobody who was asked knows. */
  primary (signal: AbortSignal): Promise<Address>
  /** Calls `moved` as soon as it is another one; where nothing tells that, a refused command does. Returns what ends the watching. */
  watch? (moved: () => void): () => void
}

/**
 * How ioredis is told where to connect: it asks the guide before each connection, so that one client, with all that a
 * store expects of it, follows a failover or a moved slot by reconnecting.
 */
export function connectorTo (guide: Guide): new (options: unknown) => AbstractConnector {
  return class extends PrimaryConnector {
    constructor (options: unknown) {
      super(guide, options as RedisOptions)
    }
  }
}

class PrimaryConnector extends AbstractConnector {
  readonly #guide: Guide
  readonly #options: RedisOptions
  #asking: AbortController | undefined
  #unwatch: (() => void) | undefined

  constructor (guide: Guide, options: RedisOptions) {
    super(options.disconnectTimeout ?? 0)
    this.#guide = guide
    this.#options = options
  }

  /** Goes on until it has a connection or is told to disconnect: a rejection here would be ioredis's last attempt. */
  override async connect (report: (type: string, error: Error) => void): Promise<Socket> {
    this.connecting = true
    const { signal } = this.#asking = new AbortController()
    for (let attempt = 1; ; attempt++) {
      const found = await this.#guide.primary(signal).catch((error: Error) => error)
      if (signal.aborted) throw new Error('Connection is closed.')
      if (!(found instanceof Error)) return this.#dial(found)
      const delay = this.#options.retryStrategy?.(attempt)
      if (typeof delay !== 'number') throw found
      report('error', found)
      await pause(delay, undefined, { signal }).catch(() => {})
    }
  }

  override check (info: { role?: string }): boolean {
    return info.role === undefined || info.role === 'master'
  }

  override disconnect (): void {
    this.#asking?.abort()
    this.#unwatch?.()
    this.#unwatch = undefined
    super.disconnect()
  }

  #dial (address: Address): Socket {
    const { tls, sentinels, enableTLSForSentinelMode } = this.#options
    // As ioredis has it: behind Sentinels, `tls` counts only when that is said too.
    const encrypted = tls != null && (sentinels == null || enableTLSForSentinelMode === true)
    this.stream = encrypted ? connectTls({ ...address, ...tls }) : connectTcp(address)
    this.stream.once('error', (error: Error) => { this.firstError = error })
    this.stream.once('connect', () => this.#awaitHello(this.stream as Socket))
    // A connection that would not come again has nothing to be told.
    if (this.#options.retryStrategy) this.#unwatch ??= this.#guide.watch?.(() => { this.stream.destroy() })
    return this.stream
  }

  /** A frozen server still accepts connections; by asking again it is found who replaces it. */
  #awaitHello (stream: Socket): void {
    const silence = setTimeout(() => { stream.destroy(new Error('it accepts connections but says nothing')) }, saysHelloWithin)
    for (const event of ['data', 'close']) stream.once(event, () => clearTimeout(silence))
  }
}

/** Milliseconds from the connection until the server's first word. */
const saysHelloWithin = 1000

type Credentials = Pick<RedisOptions, 'username' | 'password' | 'tls' | 'family'>

/** What the first of several servers answers that knows; `read` throws for an answer that does not help. Each has a second. */
async function askFirst<T> (servers: Address[], credentials: Credentials, signal: AbortSignal, command: [string, ...string[]], read: (reply: unknown, from: Address) => T): Promise<T> {
  const answered = new AbortController()
  const either = AbortSignal.any([signal, answered.signal])
  try {
    return await Promise.any(servers.map(async (server) => read(await ask(server, credentials, either, command), server)))
  } catch (error) {
    const [first] = error instanceof AggregateError ? error.errors : [error]
    throw new Error(first instanceof Error ? first.message : String(first))
  } finally {
    answered.abort()
  }
}

/** Milliseconds until the next attempt: doubling to a second, never the same for all processes, never giving up. */
export function jittered (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 10), 1000) * (0.5 + Math.random() / 2)
}

/** One question on a connection of its own: the server may be silent, and is then not to be waited for. */
async function ask (server: Address, credentials: Credentials, signal: AbortSignal, [command, ...args]: [string, ...string[]]): Promise<unknown> {
  const client = new Redis({ ...plain, ...credentials, ...server, connectTimeout: 1000, commandTimeout: 1000, retryStrategy: () => null })
  client.on('error', () => {})
  const close = () => {
    client.disconnect()
    client.stream?.destroy()
  }
  signal.addEventListener('abort', close)
  try {
    return await client.call(command, ...args)
  } finally {
    signal.removeEventListener('abort', close)
    close()
  }
}

const plain = { protocol: 2, replyMapping: 'legacy', enableReadyCheck: false, disableClientInfo: true, maxRetriesPerRequest: null } satisfies RedisOptions

function natted ({ host, port }: Address, natMap: RedisOptions['natMap']): Address {
  const key = `${host}:${port}`
  return (typeof natMap === 'function' ? natMap(key) : natMap?.[key]) ?? { host, port }
}

/** Sentinels, which tell the primary of a name, and announce it when it changes. */
export class SentinelGuide implements Guide {
  readonly #name: string
  readonly #sentinels: Address[]
  readonly #credentials: Credentials
  readonly #natMap: RedisOptions['natMap']

  constructor ({ name, sentinels = [], sentinelUsername: username, sentinelPassword: password, sentinelTLS: tls, family, natMap }: RedisOptions) {
    this.#name = name!
    this.#sentinels = sentinels.map(({ host = '127.0.0.1', port = 26379 }) => ({ host, port }))
    this.#credentials = { username, password, tls, family }
    this.#natMap = natMap
  }

  async primary (signal: AbortSignal): Promise<Address> {
    const address = await askFirst(this.#sentinels, this.#credentials, signal, ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#name], (reply) => {
      if (!Array.isArray(reply)) throw new Error(`the Sentinels know no primary of the name ${this.#name}`)
      return { host: String(reply[0]), port: Number(reply[1]) }
    })
    return natted(address, this.#natMap)
  }

  watch (moved: () => void): () => void {
    const clients = this.#sentinels.map((sentinel) => {
      const client = new Redis({ ...plain, ...this.#credentials, ...sentinel, connectTimeout: 3000, keepAlive: 10_000, retryStrategy: jittered })
      client.on('error', () => {})
      client.on('message', (_channel, message) => { if (message.startsWith(`${this.#name} `)) moved() })
      client.subscribe('+switch-master').catch(() => {})
      return client
    })
    return () => {
      for (const client of clients) {
        client.disconnect()
        client.stream?.destroy()
      }
    }
  }
}

/** The nodes of a Cluster, each of which tells who owns a slot. */
export class ClusterGuide implements Guide {
  readonly #slot: number
  readonly #seeds: Address[]
  readonly #credentials: Credentials
  readonly #natMap: RedisOptions['natMap']
  #nodes: Address[]
  #hint: Address | undefined

  constructor (key: string, seeds: Address[], { username, password, tls, family, natMap }: RedisOptions) {
    this.#slot = slotOf(key)
    this.#nodes = this.#seeds = seeds
    this.#credentials = { username, password, tls, family }
    this.#natMap = natMap
  }

  async primary (signal: AbortSignal): Promise<Address> {
    const hint = this.#hint
    this.#hint = undefined
    if (hint !== undefined) return hint
    // Some may be down or silent, and with five at once the chance is small that all are.
    const some = this.#nodes.map((node) => ({ node, draw: Math.random() })).sort((a, b) => a.draw - b.draw).slice(0, 5).map(({ node }) => node)
    return await askFirst(some, this.#credentials, signal, ['CLUSTER', 'SLOTS'], (reply, from) => this.#ownerIn(reply as SlotRange[], from))
  }

  /** Notes where a refused command says that our slot is now; false when it says nothing of that. */
  moved (message: string): boolean {
    const [, host, port] = /^MOVED \d+ (.*):(\d+)$/.exec(message) ?? []
    if (port === undefined) return false
    if (host) this.#hint = natted({ host, port: Number(port) }, this.#natMap)
    return true
  }

  #ownerIn (ranges: SlotRange[], from: Address): Address {
    const addressOf = ([host, port]: [string | null, number, ...unknown[]]) => host ? natted({ host, port }, this.#natMap) : { host: from.host, port }
    const mine = ranges.find(([first, last]) => first <= this.#slot && this.#slot <= last)
    if (mine === undefined) throw new Error(`no node of the Cluster owns slot ${this.#slot}`)
    const all = [...this.#seeds, ...ranges.flatMap(([, , ...nodes]) => nodes.map(addressOf))]
    this.#nodes = [...new Map(all.map((node) => [`${node.host}:${node.port}`, node])).values()]
    return addressOf(mine[2])
  }
}

/** An entry of CLUSTER SLOTS: its bounds, the owner, the replicas. A node without host is where the answer came from. */
type SlotRange = [first: number, last: number, owner: [string | null, number, ...unknown[]], ...replicas: Array<[string | null, number, ...unknown[]]>]

/** The slot of a key: CRC-16/XMODEM of its first hash tag, or of the whole. Source: the Redis Cluster specification. */
export function slotOf (key: string): number {
  const tag = /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % 16384
}
