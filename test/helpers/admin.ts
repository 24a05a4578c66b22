import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import flags from '../../src/index.js'
import { adminRoutes, type AdminOptions } from '../../src/routes/admin.js'
import { MemoryStore } from '../../src/store/memory.js'
import type { Store } from '../../src/store/store.js'

export const alice = 'alice-0123456789abcdef'
export const bob = 'bob-0123456789abcdef'
export const viewer = 'viewer-0123456789abcdef'

export interface Asked {
  body?: unknown
  /** Sent as it is. */
  payload?: string | Buffer
  headers?: Record<string, string>
  token?: string
}

export interface Answer { status: number, body: any, headers: Record<string, unknown>, text: string }

/** An app with the admin routes under /admin, and a way to ask them as alice. */
export async function startAdmin (t: Test, { store = new MemoryStore(), server, admin, prepare }: {
  store?: Store, server?: FastifyServerOptions, admin?: AdminOptions, prepare?: (app: FastifyInstance) => void
} = {}) {
  const app: FastifyInstance = Fastify(server)
  t.teardown(() => app.close())
  prepare?.(app)
  await app.register(flags, { store })
  await app.register(adminRoutes, admin ?? { prefix: '/admin', tokens: { alice, bob }, readTokens: { viewer } })
  await app.ready()

  async function ask (method: InjectOptions['method'], path: string, { body, payload, headers, token = alice }: Asked = {}): Promise<Answer> {
    const response = await app.inject({
      method,
      url: `/admin${path}`,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined || payload !== undefined) && { 'content-type': 'application/json' }, ...headers },
      payload: payload ?? (body === undefined ? undefined : JSON.stringify(body))
    })
    const json = String(response.headers['content-type']).includes('json') && response.body !== ''
    return { status: response.statusCode, body: json ? response.json() : undefined, headers: response.headers, text: response.body }
  }
  return { app, ask, admin: app.flags.admin }
}
