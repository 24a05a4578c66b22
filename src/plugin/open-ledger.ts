import { FileLedger } from '../experiments/file.js'
import type { Ledger } from '../experiments/ledger.js'
import { MemoryLedger } from '../experiments/memory.js'
import { RedisLedger } from '../experiments/redis.js'
import type { Settings } from '../options.js'
import { FileStore } from '../store/file.js'
import { RedisStore } from '../store/redis.js'

/** Experiments are counted beside the flags: in the same Redis, in a file beside theirs, or, with any other store, in the memory of this process. */
export function openLedger ({ store, namespace }: Settings): Ledger {
  switch (store.kind) {
    case 'redis': return new RedisLedger({ redis: store.redis, namespace })
    case 'file': return fileLedger(store.file)
    case 'memory': return new MemoryLedger()
    case 'own':
      if (store.store instanceof RedisStore) return new RedisLedger(store.store.place)
      return store.store instanceof FileStore ? fileLedger(store.store.file) : new MemoryLedger()
  }
}

function fileLedger (file: string): Ledger {
  return new FileLedger(`${file}.experiments`)
}
