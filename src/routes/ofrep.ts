import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import { latestBeginning } from '../evaluation/boundaries.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import { revisionOf, stampOf } from '../replica/stamps.js'
import { openAccess, type AccessOptions, type Asker } from './access.js'
import { sendJson } from './answers.js'
import { attemptsOf } from './attempts.js'
import { allowOrigins, type Cors } from './cors.js'
import { listOfrep, toOfrep } from './ofrep/answers.js'
import { noteEvaluations, noteStreams } from './noting.js'
import { askingInOfrep } from './ofrep/body.js'
import { presentError } from './ofrep/errors.js'
import { etagOf, isNamed } from './ofrep/etag.js'
import { openStreamTokens } from './ofrep/stream-tokens.js'
import { EventStreams } from './ofrep/streams.js'
import { ofrepOperations } from './openapi/ofrep.js'
import { splitUrl } from './public-url.js'
import { queryOf } from './query.js'
import { openScope } from './scope.js'

export interface OfrepOptions extends AccessOptions {
  /** Where the routes stand, such as `/feature`; left out, at the root: `/ofrep/v1/…`. */
  prefix?: string
  /** The URL under which clients reach this app, where a proxy in front of it changes that: `https://example.com/flags`. */
  publicUrl?: string
  /** Whose pages may ask: a list of origins, or true for all. */
  cors?: Cors
  /** How many event streams may be open at once, 10,000 unless given; 0 offers none. */
  maxStreams?: number
  /** Shows the routes in the app's OpenAPI. */
  openapi?: boolean
}

const bodyLimit = 64 * 1024
const base = '/ofrep/v1'
const paths = { one: `${base}/evaluate/flags/:key`, all: `${base}/evaluate/flags`, events: `${base}/events` }

interface KeyRoute { Params: { key: string } }

/** The OpenFeature Remote Evaluation Protocol 0.3, for OpenFeature's own providers. An encapsulated plugin; it needs the flags plugin around it. */
export const ofrepRoutes: FastifyPluginAsync<OfrepOptions> = async (app, { prefix, publicUrl, cors, maxStreams = 10_000, openapi, ...who }) => {
  if (!app.hasDecorator('flags')) throw new errors.INVALID_OPTION('ofrepRoutes needs fastify-flags in the same scope, before it: await app.register(flags)')
  if (!Number.isInteger(maxStreams) || maxStreams < 0) throw new errors.INVALID_OPTION('evaluation.maxStreams must be a whole number, 0 or more')
  const { admit, beforeBody, subjectOf, sees, bearers } = openAccess(app, who)
  const tokens = openStreamTokens(bearers)
  const attempts = attemptsOf(app)
  const { origin, path } = publicUrl === undefined ? { path: '' } : splitUrl(publicUrl)
  const scope = openScope(app, { prefix, owned: '/ofrep', bodyLimit, present: presentError, parse: parseFast, visible: openapi, operations: ofrepOperations })
  const note = noteEvaluations(app)
  allowOrigins(app, cors, maxStreams === 0 ? [paths.one, paths.all] : Object.values(paths))
  const streams = new EventStreams({
    most: maxStreams,
    now: () => Math.floor(app.flags.for().now / 1000),
    stampOf: (environment) => {
      const { snapshot, now } = app.flags.for()
      return stampAt(snapshot, environment, now)
    }
  })
  noteStreams(app, () => streams.size)
  const tell = () => { streams.tell() }
  for (const event of ['change', 'stage', 'ready'] as const) app.flags.on(event, tell)
  app.addHook('preClose', async () => {
    for (const event of ['change', 'stage', 'ready'] as const) app.flags.off(event, tell)
    streams.close()
  })

  scope.post<KeyRoute>(paths.one, beforeBody, (request, reply) => {
    const asker = admit(request, reply)
    const { key } = request.params
    const subject = subjectOf(request, askingInOfrep(request), asker)
    const entry = subject.snapshot.flag(key)
    if (entry === undefined || !sees(asker, entry)) throw new errors.FLAG_NOT_FOUND(JSON.stringify(key.slice(0, 100)))
    const outcome = entry.evaluate(subject)
    note(subject, key, outcome)
    if (outcome.details.reason === 'ERROR') reply.code(500)
    return sendJson(reply, toOfrep(key, outcome, asker?.grant === 'browser'))
  })

  scope.post(paths.all, beforeBody, (request, reply) => {
    const late = catchUp(request)
    return late === undefined ? answerAll(request, reply) : late.then(() => answerAll(request, reply))
  })

  function answerAll (request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const asker = admit(request, reply)
    const subject = subjectOf(request, askingInOfrep(request), asker)
    const { environment, context, snapshot } = subject
    const brief = asker?.grant === 'browser'
    const stamp = stampAt(snapshot, environment, subject.now)
    const eventStreams = eventStreamsOf(stamp, asker)
    const etag = etagOf([stamp, environment, brief ? 'brief' : 'full', eventStreams], context)
    reply.header('etag', etag)
    if (isNamed(etag, request.headers['if-none-match'])) return reply.header('cache-control', 'private, no-cache').code(304).send()
    return sendJson(reply, listOfrep(subject, brief, eventStreams))
  }

  let catchingUp: Promise<unknown> | undefined
  let caughtUp = -Infinity

  /** Who was told of a change by another process must not be answered with what this one knew before. Not for each who only says so. */
  function catchUp (request: FastifyRequest): Promise<unknown> | undefined {
    if (!request.raw.url!.includes('flagConfigEtag')) return undefined
    const revision = revisionOf(queryOf(request).get('flagConfigEtag') ?? '')
    if (revision <= app.flags.revision) return undefined
    if (catchingUp === undefined && performance.now() - caughtUp < 100) return undefined
    return (catchingUp ??= app.flags.sync(revision).finally(() => {
      catchingUp = undefined
      caughtUp = performance.now()
    }))
  }

  if (maxStreams > 0) {
    scope.get(paths.events, { exposeHeadRoute: false }, (request, reply) => {
      const query = queryOf(request)
      const token = query.get('token')
      const asker = token === null || bearers.length === 0 ? admit(request, reply) : holderOf(token, request, reply)
      const seen = String(request.headers['last-event-id'] ?? '') || query.get('since')
      streams.open(request, reply, asker?.environment ?? app.flags.environment, seen || undefined)
    })
  }

  function holderOf (token: string, request: FastifyRequest, reply: FastifyReply): Asker {
    const known = tokens.verify(token)
    if (known?.isOver === false) {
      attempts.admit(request, reply, known.bearer)
      return known.bearer
    }
    if (known === undefined) attempts.fail(request, reply) // who comes back with an old one has guessed nothing
    throw new errors.UNAUTHORIZED(`The token in the URL is ${known === undefined ? 'unknown' : 'too old'}; ask for all flags again, and use the URL in eventStreams`)
  }

  app.post(`${paths.all}/*`, (request) => { // a key too long for the router, or with a slash in it
    throw new errors.FLAG_NOT_FOUND(JSON.stringify((request.params as { '*': string })['*'].slice(0, 100)))
  })

  // Written as JSON once; what stands between needs no escaping.
  const [opening, closing] = JSON.stringify([{ type: 'sse', endpoint: { origin, requestUri: `${path}${app.prefix}${base}/events?since=\n` }, inactivityDelaySec: 120 }]).split('\\n')

  /** The end of an answer: where to hear of changes, and since when. The ETag covers it: a client keeps the URL as long as its answer. */
  function eventStreamsOf (stamp: string, asker: Asker): string {
    return maxStreams === 0 ? '' : `,"eventStreams":${opening}${stamp}${asker === undefined ? '' : `&token=${tokens.issue(asker)}`}${closing}`
  }
}

/** Names all that an environment's answers are made of but the context: documents, and the stages that have begun by the clock. */
function stampAt (snapshot: Snapshot, environment: string, now: number): string {
  const begun = latestBeginning(snapshot.beginnings, environment, now)
  return begun === 0 ? stampOf(snapshot) : `${stampOf(snapshot)}-${begun.toString(36)}`
}

// What a person would be told of (a field that stands twice) is no matter between programs, and costs twice as much.
function parseFast (text: string): unknown {
  try {
    return JSON.parse(text.charCodeAt(0) === 0xFEFF ? text.slice(1) : text)
  } catch (error) {
    throw new errors.INVALID_JSON((error as Error).message.slice(0, 200))
  }
}
