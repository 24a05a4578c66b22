import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../../errors.js'

const streamType = 'text/event-stream; charset=utf-8'

/** Streams are written to in so many turns, so that ten thousand hold up nobody else. */
const turns = 20

/** Bytes that may wait for a client that does not read; then it is dropped, and finds out what it missed when it comes back. */
const mostWaiting = 16 * 1024

/** A socket on which nothing moves for so long is closed; milliseconds. */
const silence = 60_000

/** An open stream is no slow request: its time says how long somebody listened. */
export function isStream ({ raw }: FastifyReply): boolean {
  return raw.getHeader('content-type') === streamType
}

export interface StreamsOptions {
  /** What names what an environment's answers are now made of. */
  stampOf: (environment: string) => string
  /** Epoch seconds. */
  now: () => number
  /** So many at once; more are refused. */
  most: number
  /** Milliseconds between two signs of life: 20,000 unless given, well below the minute after which proxies give up. */
  heartbeat?: number
}

/** Open event streams. Each is told when the answers of its environment may have changed. */
export class EventStreams {
  readonly #options: StreamsOptions
  readonly #told = new Map<string, { stamp: string, streams: Set<ServerResponse> }>()
  readonly #beats = Array.from({ length: turns }, () => new Set<ServerResponse>())
  readonly #timer: NodeJS.Timeout
  #beat = 0
  #size = 0
  #closed = false

  constructor (options: StreamsOptions) {
    this.#options = options
    this.#timer = setInterval(() => {
      this.#beat = (this.#beat + 1) % turns
      for (const stream of this.#beats[this.#beat]!) write(stream, ':\n\n')
    }, (options.heartbeat ?? 20_000) / turns).unref()
  }

  get size (): number {
    return this.#size
  }

  /**
   * Takes over a request's connection. `seen` is the stamp of what the client last knew: when that is no more, it is told at once.
   * Throws TOO_MANY_STREAMS.
   */
  open (request: FastifyRequest, reply: FastifyReply, environment: string, seen: string | undefined): void {
    if (this.#size >= this.#options.most || this.#closed) throw new errors.TOO_MANY_STREAMS(this.#options.most)
    const stamp = this.#options.stampOf(environment)
    let group = this.#told.get(environment)
    if (group === undefined) this.#told.set(environment, group = { stamp, streams: new Set() })
    const { streams } = group
    const beats = this.#beats[this.#size % turns]!

    reply.hijack()
    const { raw } = reply
    if (raw.destroyed || raw.writableFinished) return // gone while a host's hook took its time: there is no 'close' to come
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value) // of the host's hooks
    raw.writeHead(200, { 'content-type': streamType, 'cache-control': 'private, no-cache, no-transform', 'x-accel-buffering': 'no' })
    raw.socket?.setTimeout(silence)
    streams.add(raw)
    beats.add(raw)
    this.#size++
    raw.once('close', () => {
      this.#size--
      beats.delete(raw)
      streams.delete(raw)
      if (streams.size === 0) this.#told.delete(environment)
    })
    // Where they all come back at once, after a restart, they come spread over some seconds.
    const opening = `retry: ${1000 + Math.floor(Math.random() * 4000)}\nid: ${stamp}\n\n`
    write(raw, seen === undefined || seen === stamp ? opening : opening + this.#event(stamp))
  }

  /** To be called when documents changed or a stage has begun. */
  tell (): void {
    for (const [environment, group] of this.#told) {
      const stamp = this.#options.stampOf(environment)
      if (group.stamp === stamp) continue
      group.stamp = stamp
      const event = this.#event(stamp)
      for (const stream of group.streams) write(stream, event)
    }
  }

  close (): void {
    this.#closed = true
    clearInterval(this.#timer)
    for (const { streams } of this.#told.values()) for (const stream of streams) stream.end()
  }

  #event (stamp: string): string {
    return `id: ${stamp}\ndata: ${JSON.stringify({ type: 'refetchEvaluation', etag: stamp, lastModified: this.#options.now() })}\n\n`
  }
}

function write (stream: ServerResponse, text: string): void {
  if (stream.writableLength > mostWaiting) stream.destroy()
  else stream.write(text)
}
