import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isStream } from '../routes/ofrep/streams.js'

const begun = randomBytes(4).toString('hex')
let count = 0

/** What a request is called in the log and in `x-request-id`: what its sender calls it, if that is a plain word, else a name of its own. */
export function requestId ({ headers: { 'x-request-id': sent } }: Pick<IncomingMessage, 'headers'>): string {
  if (typeof sent === 'string' && /^[\w.-]{1,64}$/.test(sent)) return sent
  return `${begun}-${(++count).toString(36)}`
}

/** Answers are data: to be read as what they say they are, run nothing, shown in no frame, and kept by nobody unless their route says so. */
const always = Object.entries({
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff'
})

/** The same for what never reaches a route. */
export const alwaysText = always.map(([name, value]) => `${name}: ${value}\r\n`).join('')

export function setHeaders (request: FastifyRequest, reply: FastifyReply): void {
  for (const [name, value] of always) reply.header(name, value)
  reply.header('x-request-id', request.id)
}

/** Gives every answer these headers, and refuses what has no route before its body is read. To be called before there are routes. */
export function guardAnswers (app: FastifyInstance, refuseUnknown: (request: FastifyRequest, reply: FastifyReply) => void): void {
  app.addHook('onRequest', (request, reply, done) => {
    setHeaders(request, reply)
    if (request.is404) refuseUnknown(request, reply)
    else done()
  })
  app.setNotFoundHandler(refuseUnknown)
}

/** Milliseconds from which a request is slow. */
const slow = 1000

/** Of each route and status no more lines than one in so many milliseconds: a store that is away must not fill the log. */
const quiet = 1000

/** Logs requests that failed here or were slow, and no others: by the pattern of their route, for a path may hold anything. */
export function logTrouble (app: FastifyInstance): void {
  const told = new Map<string, { at: number, untold: number }>()
  app.addHook('onResponse', (request, reply, done) => {
    if (reply.statusCode >= 500 || (reply.elapsedTime >= slow && !isStream(reply))) tell(request, reply)
    done()
  })

  function tell (request: FastifyRequest, { statusCode, elapsedTime }: FastifyReply): void {
    const { method, routeOptions: { url: route } } = request
    const kind = `${method} ${route} ${statusCode}`
    const last = told.get(kind)
    const now = performance.now()
    if (last !== undefined && now - last.at < quiet) {
      last.untold++
      return
    }
    told.set(kind, { at: now, untold: 0 })
    request.log.warn({ method, route, statusCode, responseTime: elapsedTime, untold: last?.untold || undefined }, statusCode >= 500 ? 'a request failed' : 'a request was slow')
  }
}
