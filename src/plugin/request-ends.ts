import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Arm } from '../evaluation/arm.js'

/** What is told of a request that had part in a guarded rollout: whether it failed (5xx), and how long it took. */
export type Count = (arm: Arm, failed: boolean, milliseconds: number) => void

/** A request while there are guards: its answer, when it began, and on which sides it was. */
class Watched {
  readonly arms: Arm[] = []
  readonly began = performance.now()

  constructor (readonly response: ServerResponse) {}
}

/**
 * Gives a function to be called with each side of a guarded rollout that a request is on; how the request ends is told to
 * `count`, once for each rollout. Requests whose client gave up are told too, which an onResponse hook never sees. As long as
 * `hasGuards` says that there are none, a request pays next to nothing, and for a listener only when it is on a side.
 */
export function watchEnds (app: FastifyInstance, hasGuards: () => boolean, count: Count): (request: FastifyRequest, arm: Arm) => void {
  const kWatched = Symbol('fastify-flags.watched')
  interface WatchedRequest extends FastifyRequest { [kWatched]: Watched | null }

  app.decorateRequest(kWatched, null)
  app.addHook('onRequest', (request, reply, done) => {
    if (hasGuards()) (request as WatchedRequest)[kWatched] = new Watched(reply.raw)
    done()
  })

  return (request, arm) => {
    const watched = (request as WatchedRequest)[kWatched]
    if (watched === null || watched === undefined) return // the guard is new, or the route was added before this plugin
    const { arms, response, began } = watched
    for (let i = 0; i < arms.length; i++) if (arms[i]!.rollout === arm.rollout) return
    if (arms.push(arm) > 1) return
    response.on('close', () => {
      const failed = response.statusCode >= 500
      const milliseconds = performance.now() - began
      for (let i = 0; i < arms.length; i++) count(arms[i]!, failed, milliseconds)
    })
  }
}
