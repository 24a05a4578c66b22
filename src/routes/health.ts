import type { FastifyPluginAsync } from 'fastify'
import { openScope } from './scope.js'

/** `/healthz`: the process answers. */
export const healthRoutes: FastifyPluginAsync = async (app) => {
  const scope = openScope(app)

  scope.get('/healthz', async () => ({ status: 'ok' }))
}
