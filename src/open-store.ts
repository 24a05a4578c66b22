import type { Settings } from './options.js'
import { MemoryStore } from './store/memory.js'
import type { Store } from './store/store.js'

export function openStore ({ store }: Settings): Store {
  if (!('kind' in store)) return store
  if (store.kind === 'memory') return new MemoryStore()
  throw new Error(`no ${store.kind} store yet`)
}
