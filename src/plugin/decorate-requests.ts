import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Counting } from '../facade.js'
import type { Settings } from '../options.js'
import type { Replica } from '../replica.js'
import { callContext, readHeaders } from './request-context.js'
import { Sender, type Scope } from './sender.js'
import { compileTrust } from './trust.js'

/** Gives requests their `flags`: a getter, so that while there are no guards a request that reads none pays nothing. A scope that registers again has its own, for its own requests. */
export function decorateRequests (app: FastifyInstance, { environment, context, headers, trust }: Settings, replica: Replica, { recorder, guards }: Counting): void {
  const contextOf = context === undefined ? readHeaders(headers, compileTrust(trust, app.log)) : callContext(context, (problem) => { replica.report(problem) })
  const scope: Scope = { replica, environment, recorder, guards, contextOf }
  const kSender = Symbol('fastify-flags.sender')
  interface Sent { [kSender]?: Sender | null }

  app.decorateRequest(kSender, null)
  app.addHook('onRequest', (request, reply, done) => {
    if (replica.snapshot.hasGuards) ((request as Sent)[kSender] ??= new Sender(scope, request)).watch(reply.raw)
    done()
  })
  app.decorateRequest('flags', {
    getter (this: FastifyRequest & Sent) {
      return (this[kSender] ??= new Sender(scope, this)).flags
    }
  })
}
