import { collectDefaultMetrics, Registry } from '@platformatic/prom-client'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errors, type FlagsError } from '../errors.js'
import { FastifyFlags } from '../facade.js'
import { attemptsOf, type Attempts } from './attempts.js'
import { EvaluationCounts } from './metrics/evaluation-counts.js'
import { RequestTimes } from './metrics/request-times.js'
import { metricText } from './metrics/text.js'
import { listenToRoutes } from './noting.js'
import { isStream } from './ofrep/streams.js'
import { serverOperations } from './openapi/server.js'
import { openScope } from './scope.js'
import { readTokens, type EvaluationTokens } from './tokens.js'

export interface MetricsOptions {
  times: RequestTimes
  /** Whose tokens open them; left out, they are open to all who reach them. */
  tokens?: Record<'admin' | 'read' | 'evaluation', EvaluationTokens>
}

/** Takes the time of every request. To be called before there are routes, for a scope hands down only the hooks it has. */
export function timeRequests (app: FastifyInstance): RequestTimes {
  const times = new RequestTimes()
  app.addHook('onResponse', (request, reply, done) => {
    if (!isStream(reply)) times.observe(request.method, request.routeOptions.url ?? '', reply.statusCode, reply.elapsedTime)
    done()
  })
  return times
}

/**
 * `GET /metrics` in Prometheus's text format, within what `fastify-flags` was registered in, and to be registered before the
 * routes whose evaluations it counts.
 */
export async function addMetrics (app: FastifyInstance, { times, tokens }: MetricsOptions): Promise<void> {
  const { flags } = app
  const counts = new EvaluationCounts()
  const streams = new Set<() => number>()
  listenToRoutes(app, counts.count, streams)
  flags.on('change', ({ flags: changed }) => { counts.settle(changed, flags.for().snapshot) })
  const problems = new Map<string, number>()
  const note = ({ code }: FlagsError) => { problems.set(code, (problems.get(code) ?? 0) + 1) }
  if (flags.problem !== null) note(flags.problem)
  flags.on('problem', note)
  const onRequest = tokens === undefined ? [] : [admission(tokens, attemptsOf(app))]

  await app.register(async (app) => {
    openScope(app, { operations: serverOperations }).get('/metrics', { onRequest }, async (request, reply) => {
      reply.header('cache-control', 'no-store').type(Registry.PROMETHEUS_CONTENT_TYPE)
      return counts.text() + stateText(flags) + problemsText(problems) + streamsText(streams) + times.text() + await processMetrics().metrics()
    })
  })
}

function stateText (flags: FastifyFlags): string {
  const { status, revision, lastSyncedAt } = flags
  const { recorder, guards } = FastifyFlags.countingOf(flags)
  const number = [...flags.for().snapshot.flags()].length
  return metricText('fastify_flags_flags', 'gauge', 'How many flags there are.', [['', number]]) +
    metricText('fastify_flags_revision', 'gauge', 'The revision of the store that is served; 0 before any.', [['', revision]]) +
    metricText('fastify_flags_age_seconds', 'gauge', 'How long ago the store confirmed what is served; none before it ever did.', lastSyncedAt === null ? [] : [['', Math.max(0, Date.now() - lastSyncedAt) / 1000]]) +
    metricText('fastify_flags_status', 'gauge', '1 for the status that holds.', (['NOT_READY', 'READY', 'STALE'] as const).map((one) => [`status="${one}"`, one === status ? 1 : 0])) +
    metricText('fastify_flags_events_waiting', 'gauge', 'Events of experiments and outcomes for guards that are on their way to where they are counted.', [['', recorder.waiting + guards.waiting]]) +
    metricText('fastify_flags_events_dropped_total', 'counter', 'Events of experiments and outcomes for guards that were lost, because too many waited.', [['', recorder.dropped + guards.dropped]])
}

function problemsText (problems: ReadonlyMap<string, number>): string {
  return metricText('fastify_flags_problems_total', 'counter', 'What went wrong with the store, each time it began, by code.', [...problems].map(([code, count]) => [`code="${code}"`, count]))
}

function streamsText (streams: ReadonlySet<() => number>): string {
  return metricText('fastify_flags_event_streams', 'gauge', 'How many event streams are open.', [['', [...streams].reduce((sum, size) => sum + size(), 0)]])
}

/** Refuses whoever has no such token, or one for a single environment: metrics tell of all. */
function admission (tokens: Record<'admin' | 'read' | 'evaluation', EvaluationTokens>, attempts: Attempts) {
  const find = readTokens(tokens, { admin: 'admin.tokens', read: 'admin.readTokens', evaluation: 'evaluation.tokens' }, ['evaluation'])
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { authorization } = request.headers
    const bearer = find(authorization)
    if (bearer !== undefined) {
      attempts.admit(request, reply, bearer)
      if (bearer.environment === undefined) return
      throw new errors.FORBIDDEN(`The token of ${bearer.actor} is for the environment ${bearer.environment} alone, and metrics tell of all environments; use a read token`)
    }
    if (authorization !== undefined) attempts.fail(request, reply)
    reply.header('www-authenticate', 'Bearer realm="fastify-flags"')
    throw new errors.UNAUTHORIZED('Send "Authorization: Bearer <secret>" with a read, admin or evaluation token of this server; FLAGS_READ_TOKENS=prometheus=secret makes one')
  }
}

let registry: Registry | undefined

/** Memory, CPU, event loop, garbage collection: of the process, however many servers it has. Gathered from the first request for them on. */
function processMetrics (): Registry {
  if (registry === undefined) collectDefaultMetrics({ register: registry = new Registry() })
  return registry
}
