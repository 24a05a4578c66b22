import type { FastifyBaseLogger } from 'fastify'
import { textOf } from '../errors.js'
import type { Settings } from '../options.js'
import { Replica } from '../replica.js'
import { keepSnapshotFile } from '../replica/keep-snapshot-file.js'
import { SnapshotFile, type Left } from '../replica/snapshot-file.js'
import { FileStore } from '../store/file.js'
import { MemoryStore } from '../store/memory.js'
import type { Store } from '../store/store.js'

/** A replica of the store that the options ask for; nothing waits yet for a connection. Closing it closes the store, an app's own too. */
export async function openReplica (settings: Settings, log: FastifyBaseLogger): Promise<{ replica: Replica, close (): Promise<void> }> {
  const { bootstrap, staleAfter, snapshotFile, namespace } = settings
  const file = snapshotFile === undefined ? undefined : new SnapshotFile(snapshotFile, namespace)
  const store = await openStore(settings, log)
  try {
    const left = await file?.read().catch((error) => { log.warn(`fastify-flags: ${textOf(error)}`) }) as Left | undefined
    const replica = new Replica({ store, staleAfter, bootstrap, left, restores: mayChange(settings) })
    const keeper = file === undefined ? undefined : keepSnapshotFile(replica, file)
    return {
      replica,
      async close () {
        await replica.close()
        await keeper?.close()
      }
    }
  } catch (error) { // a bootstrap that is not valid
    await store.close()
    throw error
  }
}

/**
 * Whether others may change flags through this process: then it is one that also puts them back when the store has lost
 * them. An app that only reads flags changes nothing in a store, whatever becomes of that.
 */
function mayChange ({ admin }: Settings): boolean {
  return admin !== undefined && (admin.authorize !== undefined || Object.keys(admin.tokens ?? {}).length > 0)
}

async function openStore ({ store, namespace }: Settings, log: FastifyBaseLogger): Promise<Store> {
  switch (store.kind) {
    case 'own': return store.store
    case 'memory': return new MemoryStore()
    case 'redis': {
      const { RedisStore } = await import('../store/redis.js') // with all of ioredis, which the other stores start without
      return new RedisStore({ redis: store.redis, namespace, warn: (message) => { log.warn(`fastify-flags: ${message}`) } })
    }
    case 'file': return new FileStore({ file: store.file })
  }
}
