import { Redis, type RedisOptions } from 'ioredis'
import { jittered, type Address, type Guide } from './redis-primary.js'

type Credentials = Pick<RedisOptions, 'username' | 'password' | 'tls' | 'family'>

/** What the first of several servers answers that knows; `read` throws for an answer that does not help. Each has a second. */
async function askFirst<T> (servers: Address[], credentials: Credentials, signal: AbortSignal, question: (client: Redis) => Promise<unknown>, read: (reply: unknown, from: Address) => T): Promise<T> {
  const answered = new AbortController()
  const either = AbortSignal.any([signal, answered.signal])
  try {
    return await Promise.any(servers.map(async (server) => read(await ask(server, credentials, either, question), server)))
  } catch (error) {
    const [first] = error instanceof AggregateError ? error.errors : [error]
    throw new Error(first instanceof Error ? first.message : String(first))
  } finally {
    answered.abort()
  }
}

/** One question on a connection of its own: the server may be silent, and is then not to be waited for. */
async function ask (server: Address, credentials: Credentials, signal: AbortSignal, question: (client: Redis) => Promise<unknown>): Promise<unknown> {
  const client = new Redis({ ...plain, ...credentials, ...server, connectTimeout: 1000, commandTimeout: 1000, retryStrategy: () => null })
  let broken: Error | undefined
  client.on('error', (error: Error) => { broken = error })
  const close = () => {
    client.disconnect()
    client.stream?.destroy()
  }
  signal.addEventListener('abort', close)
  try {
    return await question(client)
  } catch (error) {
    throw broken ?? error // why it was closed says more than that it was
  } finally {
    signal.removeEventListener('abort', close)
    close()
  }
}

const plain = { protocol: 2, replyMapping: 'legacy', enableReadyCheck: false, disableClientInfo: true, maxRetriesPerRequest: null } satisfies RedisOptions

function distinct (servers: Address[]): Address[] {
  return [...new Map(servers.map((server) => [`${server.host}:${server.port}`, server])).values()]
}

function natted ({ host, port }: Address, natMap: RedisOptions['natMap']): Address {
  const key = `${host}:${port}`
  return (typeof natMap === 'function' ? natMap(key) : natMap?.[key]) ?? { host, port }
}

/** Sentinels, which tell the primary of a name, and announce it when it changes. */
export class SentinelGuide implements Guide {
  readonly #name: string
  #sentinels: Address[]
  readonly #credentials: Credentials
  readonly #natMap: RedisOptions['natMap']

  constructor ({ name, sentinels = [], sentinelUsername: username, sentinelPassword: password, sentinelTLS: tls, family, natMap }: RedisOptions) {
    this.#name = name!
    this.#sentinels = sentinels.map(({ host = '127.0.0.1', port = 26379 }) => ({ host, port }))
    this.#credentials = { username, password, tls, family }
    this.#natMap = natMap
  }

  async primary (signal: AbortSignal): Promise<Address> {
    void this.#meet(signal)
    const address = await askFirst(this.#sentinels, this.#credentials, signal, (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#name), (reply) => {
      if (!Array.isArray(reply)) throw new Error(`the Sentinels know no primary of the name ${this.#name}`)
      return { host: String(reply[0]), port: Number(reply[1]) }
    })
    return natted(address, this.#natMap)
  }

  /** Those that were named may be gone one day, so the others are asked for too. */
  async #meet (signal: AbortSignal): Promise<void> {
    const named = this.#sentinels
    const others = await askFirst(named, this.#credentials, signal, (client) => client.call('SENTINEL', 'SENTINELS', this.#name), (reply) => (reply as string[][]).map((facts) => {
      const fact = (name: string) => facts[facts.indexOf(name) + 1]!
      return natted({ host: fact('ip'), port: Number(fact('port')) }, this.#natMap)
    })).catch(() => [])
    this.#sentinels = distinct([...named, ...others]).slice(0, 10)
  }

  watch (moved: () => void): () => void {
    const clients = this.#sentinels.map((sentinel) => {
      const client = new Redis({ ...plain, ...this.#credentials, ...sentinel, connectTimeout: 3000, keepAlive: 10_000, retryStrategy: (attempt) => jittered(attempt) })
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
    return (await this.#holders(signal))[0]
  }

  /** What a replica of the owner answers to commands that only read. Rejects when none answers, as while the Cluster takes itself for down. */
  async askReplica<T> (question: (client: Redis) => Promise<T>, signal: AbortSignal): Promise<T> {
    const [, ...replicas] = await this.#holders(signal)
    return await askFirst(replicas, this.#credentials, signal, async (client) => {
      const [, answer] = await Promise.all([client.readonly(), question(client)])
      return answer
    }, (answer) => answer as T)
  }

  /** The owner of our slot, then its replicas. */
  async #holders (signal: AbortSignal): Promise<[Address, ...Address[]]> {
    // Some may be down or silent, and with five at once the chance is small that all are.
    const some = this.#nodes.map((node) => ({ node, draw: Math.random() })).sort((a, b) => a.draw - b.draw).slice(0, 5).map(({ node }) => node)
    return await askFirst(some, this.#credentials, signal, (client) => client.cluster('SLOTS'), (reply, from) => this.#holdersIn(reply as SlotRange[], from))
  }

  /** Notes where a refused command says that our slot is now; false when it says nothing of that. */
  moved (message: string): boolean {
    const [, host, port] = /^MOVED \d+ (.*):(\d+)$/.exec(message) ?? []
    if (port === undefined) return false
    if (host) this.#hint = natted({ host, port: Number(port) }, this.#natMap)
    return true
  }

  #holdersIn (ranges: SlotRange[], from: Address): [Address, ...Address[]] {
    const addressOf = ([host, port]: [string | null, number, ...unknown[]]) => host ? natted({ host, port }, this.#natMap) : { host: from.host, port }
    const mine = ranges.find(([first, last]) => first <= this.#slot && this.#slot <= last)
    if (mine === undefined) throw new Error(`no node of the Cluster owns slot ${this.#slot}`)
    this.#nodes = distinct([...this.#seeds, ...ranges.flatMap(([, , ...nodes]) => nodes.map(addressOf))])
    const [,, owner, ...replicas] = mine
    return [addressOf(owner), ...replicas.map(addressOf)]
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
