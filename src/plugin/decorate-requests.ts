import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Arm } from '../evaluation/arm.js'
import type { Counting } from '../facade.js'
import { Flags, type Source } from '../flags.js'
import type { Settings } from '../options.js'
import type { Replica } from '../replica.js'
import { callContext, readHeaders } from './request-context.js'
import { watchEnds } from './request-ends.js'
import { compileTrust } from './trust.js'

const kFlags = Symbol('fastify-flags.flags')

/** Gives requests their `flags`: a getter, so that a request that reads none pays nothing. A scope that registers again has its own, for its own requests. */
export function decorateRequests (app: FastifyInstance, { environment, context, headers, trust }: Settings, replica: Replica, { recorder, guards }: Counting): void {
  const contextOf = context === undefined ? readHeaders(headers, compileTrust(trust, app.log)) : callContext(context, (problem) => { replica.report(problem) })
  const noteArm = watchEnds(app, () => replica.snapshot.hasGuards, (arm, failed, milliseconds) => { guards.count(arm, failed, milliseconds) })

  class Sender implements Source {
    constructor (readonly request: FastifyRequest) {}
    readContext () { return contextOf(this.request) }
    noteArm (arm: Arm) { noteArm(this.request, arm) }
  }

  app.decorateRequest('flags', {
    getter (this: FastifyRequest & { [kFlags]?: Flags }) {
      return (this[kFlags] ??= new Flags(replica, environment, undefined, recorder, new Sender(this)))
    }
  })
}
