import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Admin } from './admin.js'
import { Flags } from './flags.js'
import type { EvaluationContext } from './model/context.js'
import { Replica } from './replica.js'
import { MemoryStore } from './store/memory.js'
import type { Store } from './store/store.js'

export interface FlagsOptions { store?: Store, environment?: string }

declare module 'fastify' {
  interface FastifyRequest { readonly flags: Flags }
  interface FastifyInstance { flags: { for (context: EvaluationContext): Flags, admin: Admin } }
}

const kFlags = Symbol('fastify-flags')

const flagsPlugin: FastifyPluginAsync<FlagsOptions> = async (app, { store = new MemoryStore(), environment = 'production' }) => {
  const replica = new Replica({ store })
  await replica.start()
  app.decorate('flags', { for: (context: EvaluationContext) => new Flags(replica, environment, context), admin: new Admin(replica) })
  app.decorateRequest('flags', {
    getter (this: FastifyRequest & { [kFlags]?: Flags }) {
      return (this[kFlags] ??= new Flags(replica, environment, {}))
    }
  })
  app.addHook('onClose', () => replica.close())
}

export default fp(flagsPlugin, { fastify: '5.x', name: 'fastify-flags' })
