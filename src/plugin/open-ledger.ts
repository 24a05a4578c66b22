import { FileLedger } from '../experiments/file.js'
import type { Ledger } from '../experiments/ledger.js'
import { MemoryLedger } from '../experiments/memory.js'
import type { Settings } from '../options.js'
import { FileStore } from '../store/file.js'
import type { RedisConnection } from '../store/redis-connection.js'
import type { Store } from '../store/store.js'

/** Experiments are counted beside the flags of `opened`: in the same Redis, in a file beside theirs, or, with any other store, in the memory of this process. */
export async function openLedger ({ store, namespace }: Settings, opened: Store): Promise<Ledger> {
  if (opened instanceof FileStore) return new FileLedger(`${opened.file}.experiments`, () => opened.follows)
  switch (store.kind) {
    case 'redis': return await redisLedger({ redis: store.redis, namespace })
    case 'own': return await ofRedisStore(store.store) ?? new MemoryLedger()
    default: return new MemoryLedger()
  }
}

/** Imported where there is a Redis, with all of ioredis. */
async function redisLedger (place: { redis: RedisConnection, namespace?: string }): Promise<Ledger> {
  const { RedisLedger } = await import('../experiments/redis.js')
  return new RedisLedger(place)
}

async function ofRedisStore (store: object): Promise<Ledger | undefined> {
  if (!('place' in store)) return undefined
  const { RedisStore } = await import('../store/redis.js') // as whoever made the store has
  return store instanceof RedisStore ? await redisLedger(store.place) : undefined
}
