import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, type RedisOptions } from 'ioredis'

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
    this.stream.once('connect', () => this.#awaitHello(this.stream as Socket, address))
    // A connection that would not come again has nothing to be told.
    if (this.#options.retryStrategy) this.#unwatch ??= this.#guide.watch?.(() => { this.stream.destroy() })
    return this.stream
  }

  /** A frozen server still accepts connections; by asking again it is found who replaces it. */
  #awaitHello (stream: Socket, { host, port }: Address): void {
    const silence = setTimeout(() => { stream.destroy(new Error('it accepts connections but says nothing')) }, saysHelloWithin)
    const asking = setInterval(() => {
      const replaced = (now: Address) => now.host !== host || now.port !== port
      this.#guide.primary(this.#asking!.signal).then((now) => { if (replaced(now)) stream.destroy() }, () => {})
    }, saysHelloWithin / 4)
    for (const event of ['data', 'close']) {
      stream.once(event, () => {
        clearTimeout(silence)
        clearInterval(asking)
      })
    }
  }
}

/** Milliseconds from the connection until the server's first word. */
const saysHelloWithin = 1000

/** Milliseconds until the next attempt: doubling to a second or `most`, never the same for all processes, never giving up. */
export function jittered (attempt: number, most = 1000): number {
  return Math.min(50 * 2 ** Math.min(attempt, 10), most) * (0.5 + Math.random() / 2)
}
