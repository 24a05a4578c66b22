import type { FastifyBaseLogger } from 'fastify'
import type { Settings } from './options.js'
import { FileStore } from './store/file.js'
import { MemoryStore } from './store/memory.js'
import { RedisStore } from './store/redis.js'
import type { Store } from './store/store.js'

/** The store that the options ask for; nothing waits for its connection. An app's own store is closed with the app too. */
export function openStore ({ store, namespace }: Settings, log: FastifyBaseLogger): Store {
  if (!('kind' in store)) return store
  switch (store.kind) {
    case 'memory': return new MemoryStore()
    case 'redis': return new RedisStore({ redis: store.redis, namespace, warn: (message) => { log.warn(`fastify-flags: ${message}`) } })
    case 'file': return new FileStore({ file: store.file })
  }
}
