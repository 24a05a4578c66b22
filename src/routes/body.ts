import type { Readable } from 'node:stream'
import { errorCodes, type FastifyRequest } from 'fastify'

/** Bytes of a body that comes in one piece with its head. No route takes less. */
const small = 16 * 1024

type Done = (error: Error | null, bytes: Buffer) => void
/** What a host's preParsing hook gives instead may tell how much of the request it has read. */
type Payload = Readable & { receivedEncodedLength?: number }

/**
 * Reads a request's body, as Fastify's `parseAs: 'buffer'` does. Hot: a small body lies there one tick after its head, and to take it
 * then, rather than to listen for its pieces, saves one twentieth of all that a request costs.
 */
export function readBytes (request: FastifyRequest, payload: Payload, done: Done): void {
  const length = Number(request.headers['content-length'])
  const mayBeThere = length > 0 && length <= small && payload === request.raw && payload.readableFlowing === null && payload.readableEncoding === null
  if (!mayBeThere) return collect(request, payload, length, done)
  process.nextTick(() => {
    const bytes: unknown = payload.readableLength === length ? payload.read() : null
    if (!Buffer.isBuffer(bytes)) return collect(request, payload, length, done)
    payload.resume() // to its end, which others may listen for
    done(null, bytes)
  })
}

function collect (request: FastifyRequest, payload: Payload, length: number, done: Done): void {
  const limit = request.routeOptions.bodyLimit
  const chunks: Buffer[] = []
  let received = 0
  if (length > limit) return end(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
  payload.on('data', add).on('end', end).on('error', end).resume()

  function add (chunk: Buffer | string): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    chunks.push(bytes)
    received += bytes.length
    if (received > limit || (payload.receivedEncodedLength ?? 0) > limit) end(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
  }

  function end (error?: Error & { statusCode?: number }): void {
    payload.off('data', add).off('end', end).off('error', end)
    if (error !== undefined && !((error.statusCode ?? 0) >= 400)) error.statusCode = 400 // whoever sends it went away
    if (error === undefined && !Number.isNaN(length) && (payload.receivedEncodedLength || received) !== length) error = new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH()
    done(error ?? null, Buffer.concat(chunks))
  }
}
