import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Arm } from '../evaluation/arm.js'

/** What is told of a request that had part in a guarded rollout: whether it failed (5xx), and how long it took. */
export type Count = (arm: Arm, failed: boolean, milliseconds: number) => void

/**
 * Gives a function to be called with each side of a guarded rollout that a request is on; how the request ends is told to
 * `count`, once for each rollout. Requests whose client gave up are told too, which an onResponse hook never sees, and those
 * that have no part in a guarded rollout pay nothing for a listener.
 */
export function watchEnds (app: FastifyInstance, count: Count): (request: FastifyRequest, arm: Arm) => void {
  const kReply = Symbol('fastify-flags.reply')
  const kBegan = Symbol('fastify-flags.began')
  const kArms = Symbol('fastify-flags.arms')
  interface Watched extends FastifyRequest { [kReply]: FastifyReply | null, [kBegan]: number, [kArms]: Arm[] | null }

  app.decorateRequest(kReply, null)
  app.decorateRequest(kBegan, 0)
  app.decorateRequest(kArms, null)
  app.addHook('onRequest', (request, reply, done) => {
    const watched = request as Watched
    watched[kReply] = reply
    watched[kBegan] = performance.now()
    done()
  })

  return (request, arm) => {
    const watched = request as Watched
    const arms = watched[kArms]
    if (arms !== null) {
      if (arms.every(({ rollout }) => rollout.id !== arm.rollout.id)) arms.push(arm)
      return
    }
    const response = watched[kReply]?.raw
    if (response === undefined) return // of a route that was added before this plugin
    const noted = watched[kArms] = [arm]
    response.once('close', () => {
      const failed = response.statusCode >= 500
      const milliseconds = performance.now() - watched[kBegan]
      for (const arm of noted) count(arm, failed, milliseconds)
    })
  }
}
