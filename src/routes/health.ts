import type { FastifyPluginAsync } from 'fastify'
import { doubtOfEnvironment } from '../evaluation/environments.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import { serverOperations } from './openapi/server.js'
import { openScope } from './scope.js'

/**
 * `GET /healthz`: the process answers. `GET /readyz`: it has flags to answer with (200), or not yet (503); STALE is 200, for
 * what was last known is better than nothing, and says for how many seconds and why. An encapsulated plugin.
 */
export const healthRoutes: FastifyPluginAsync = async (app) => {
  const scope = openScope(app, { operations: serverOperations })

  scope.get('/healthz', async () => ({ status: 'ok' }))

  scope.get('/readyz', async (request, reply) => {
    const { status, environment, revision, staleSeconds, problem } = app.flags
    reply.header('cache-control', 'no-store')
    if (status === 'NOT_READY') reply.code(503)
    return {
      status,
      environment,
      revision,
      staleSeconds: staleSeconds ?? undefined,
      problem: problem?.code, // its message may name hosts, and anyone may ask here
      warning: doubtOf(app.flags.for().snapshot, environment)
    }
  })
}

const doubts = new WeakMap<Snapshot, string | undefined>()

/** A snapshot never changes, so it is asked once. */
function doubtOf (snapshot: Snapshot, environment: string): string | undefined {
  if (!doubts.has(snapshot)) doubts.set(snapshot, doubtOfEnvironment(snapshot, environment))
  return doubts.get(snapshot)
}
