import type { FastifyBaseLogger } from 'fastify'
import type { Settings } from './options.js'
import { Replica } from './replica.js'
import { FileStore } from './store/file.js'
import { MemoryStore } from './store/memory.js'
import { RedisStore } from './store/redis.js'
import type { Store } from './store/store.js'

/** A replica of the store that the options ask for; nothing waits yet for a connection. Closing it closes the store, an app's own too. */
export async function openReplica (settings: Settings, log: FastifyBaseLogger): Promise<Replica> {
  const store = openStore(settings, log)
  try {
    return new Replica({ store, staleAfter: settings.staleAfter, bootstrap: settings.bootstrap })
  } catch (error) { // a bootstrap that is not valid
    await store.close()
    throw error
  }
}

function openStore ({ store, namespace }: Settings, log: FastifyBaseLogger): Store {
  switch (store.kind) {
    case 'own': return store.store
    case 'memory': return new MemoryStore()
    case 'redis': return new RedisStore({ redis: store.redis, namespace, warn: (message) => { log.warn(`fastify-flags: ${message}`) } })
    case 'file': return new FileStore({ file: store.file })
  }
}
