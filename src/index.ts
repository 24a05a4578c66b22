// The plugin
export { default } from './plugin.js'
export type { FlagsOptions } from './options.js'
export type { ContextFunction } from './plugin/request-context.js'
export type { RouteFlag } from './plugin/route-guard.js'
export type { Trust } from './plugin/trust.js'
export type { FastifyFlags } from './facade.js'
export type { Flags } from './flags.js'
export type { FlagTypes } from './flag-types.js'
export type { ChangeEvent, Status } from './replica.js'
export type { Beginning as StageEvent } from './evaluation/boundaries.js'
export type { StoppedRollout as GuardEvent } from './model/guard.js'

// Changing things
export { adminRoutes, type AdminOptions } from './routes/admin.js'
export type { Authorize } from './routes/authorization.js'
export type { EvaluationSecret, EvaluationTokens, Tokens } from './routes/tokens.js'
export type { Admin, ChangeOptions, ChangeRecord, Changes, ChangesQuery, DocumentSet, FlagFilter, FlagHistory, FlagPatch, HistoryRange, ImportReport, LastMove, PageOptions, Rollout, RolloutMove, RolloutPlace, RolloutReport, Staleness, StoredFlag, StoredSegment, TargetsChange } from './admin.js'

// The model
export type { EvaluationContext } from './model/context.js'
export type { Flag } from './model/flag.js'
export type { Alarm, Guard } from './model/guard.js'
export type { Segment } from './model/segment.js'

// Errors
export { errors, isFlagsError, type ErrorDetail, type FlagsError } from './errors.js'

// Stores
export type { Change, History, HistoryQuery, Kind, Position, Reading, RestorableStore, Store, StoredDocument, StoreEvent, Write, Written } from './store/store.js'
export { FileStore, type FileStoreOptions } from './store/file.js'
export { Memory, MemoryStore } from './store/memory.js'
export { RedisStore, type RedisStoreOptions } from './store/redis.js'
export type { RedisConnection } from './store/redis-connection.js'

// Routes
export { evaluationRoutes, type EvaluationOptions } from './routes/evaluation.js'
export type { AccessOptions } from './routes/access.js'
export { ofrepRoutes, type OfrepOptions } from './routes/ofrep.js'
export type { Cors } from './routes/cors.js'
