// The plugin
export { default, type FlagsOptions } from './plugin.js'
export type { Flags, FlagTypes } from './flags.js'

// The model
export type { EvaluationContext } from './model/context.js'
export type { Flag } from './model/flag.js'
export type { Segment } from './model/segment.js'

// Stores
export type { Store } from './store/store.js'
export { Memory, MemoryStore } from './store/memory.js'
