import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Admin } from './admin.js'
import { errors, type FlagsError } from './errors.js'
import { FastifyFlags } from './facade.js'
import type { Flags } from './flags.js'
import type { FlagKey } from './flag-types.js'
import { decorateRequests } from './plugin/decorate-requests.js'
import { openCounting } from './plugin/open-counting.js'
import { openReplica } from './plugin/open-replica.js'
import { checkOptions, type FlagsOptions } from './options.js'
import { keepLog, logLateStart } from './plugin/log.js'
import { guardRoute, refuseUnguarded, type RouteFlag } from './plugin/route-guard.js'
import { adminRoutes } from './routes/admin.js'
import { evaluationRoutes } from './routes/evaluation.js'
import { ofrepRoutes } from './routes/ofrep.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The flags for who sends this request: one snapshot and one now, from the first read on. */
    readonly flags: Flags
  }
  interface FastifyInstance {
    readonly flags: FastifyFlags
  }
  interface FastifyContextConfig {
    /** The route is there while this flag is on for who asks; by itself its key, or with what to answer otherwise. */
    flag?: FlagKey | RouteFlag
  }
}

const registered = Symbol('fastify-flags.registered')

const flagsPlugin: FastifyPluginAsync<FlagsOptions> = async (app, options) => {
  const settings = checkOptions(options)
  if (Object.hasOwn(app, registered)) throw new errors.ALREADY_REGISTERED()
  app.decorate(registered, true)

  const begun = performance.now()
  const { replica, close } = await openReplica(settings, app.log)
  const { environment } = settings
  const counting = await openCounting(settings, replica)
  app.addHook('onClose', async () => {
    await counting.close()
    await close()
  })

  app.decorate('flags', new FastifyFlags(replica, environment, new Admin(replica, environment, counting.guards), counting))
  decorateRequests(app, settings, replica, counting)
  app.addHook('onRoute', guardRoute)
  if (hasRoutes(app)) app.addHook('preHandler', refuseUnguarded)

  keepLog(app.log, replica, settings)
  // Reading a snapshot file of many flags takes its part of the half second; the store is given a moment in any case.
  await replica.start(Math.max(100, 500 - (performance.now() - begun)))
  logLateStart(app.log, replica, settings)

  if (settings.admin !== undefined) await addRoutes(app, 'admin', adminRoutes, { ...settings.admin, prefix: settings.admin.prefix ?? '/admin' })
  if (settings.evaluation !== undefined) {
    await addRoutes(app, 'evaluation', evaluationRoutes, settings.evaluation)
    await addRoutes(app, 'evaluation', ofrepRoutes, settings.evaluation)
  }
}

async function addRoutes<Options extends { prefix?: string }> (app: FastifyInstance, option: string, routes: FastifyPluginAsync<Options>, options: Options): Promise<void> {
  try {
    await app.register(routes, options)
  } catch (error) {
    if ((error as FlagsError).code !== 'FST_ERR_DUPLICATED_ROUTE') throw error
    throw new errors.INVALID_OPTION(`fastify-flags: a route of the option ${option} is taken: ${(error as Error).message}; give another ${option}.prefix`)
  }
}

function hasRoutes (app: FastifyInstance): boolean {
  return app.printRoutes() !== '(empty tree)'
}

export default fp(flagsPlugin, { fastify: '5.x', name: 'fastify-flags' })
