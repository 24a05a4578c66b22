import type { FastifyPluginAsync } from 'fastify'
import type { Snapshot } from '../evaluation/snapshot.js'
import { openScope } from './scope.js'

/**
 * `GET /healthz`: the process answers. `GET /readyz`: it has flags to answer with (200), or not yet (503); STALE is 200, for
 * what was last known is better than nothing, and says for how many seconds and why. An encapsulated plugin.
 */
export const healthRoutes: FastifyPluginAsync = async (app) => {
  const scope = openScope(app)

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

/** A sentence where flags have environments and none of them is this one: probably a slip of the pen. */
function doubtOf (snapshot: Snapshot, environment: string): string | undefined {
  if (!doubts.has(snapshot)) doubts.set(snapshot, doubt(snapshot, environment))
  return doubts.get(snapshot)
}

function doubt (snapshot: Snapshot, environment: string): string | undefined {
  const known = new Set<string>()
  for (const { document } of snapshot.flags()) {
    if (document.environments === undefined) continue
    if (Object.hasOwn(document.environments, environment)) return undefined
    for (const name of Object.keys(document.environments)) if (known.size < 20) known.add(name)
  }
  return known.size === 0 ? undefined : `no flag knows the environment ${environment}; known are ${[...known].sort().join(', ')}`
}
