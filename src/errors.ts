import { inspect } from 'node:util'
import createError from '@fastify/error'

/** One offending field: a JSON pointer into the document (`''` is the whole) and a sentence that tells how to mend it. */
export interface ErrorDetail { path: string, message: string }

/** What every error of this package is: a stable `code`, an HTTP `statusCode`, and `details` where fields are at fault. */
export interface FlagsError extends Error { code: string, statusCode: number, details?: ErrorDetail[] }

/** Every error this package raises: code, text, status. Texts are `util.format` patterns. */
export const errors = {
  // What a caller sent
  INVALID_DOCUMENT: createError('FST_FLAGS_INVALID_DOCUMENT', 'The %s is not valid: %s', 400),
  INVALID_JSON: createError('FST_FLAGS_INVALID_JSON', 'The body is not valid JSON: %s', 400),
  INVALID_REQUEST: createError('FST_FLAGS_INVALID_REQUEST', '%s', 400),
  INVALID_CONTEXT: createError('FST_FLAGS_INVALID_CONTEXT', 'The context is not valid: %s', 400),
  BODY_TOO_LARGE: createError('FST_FLAGS_BODY_TOO_LARGE', 'The body is larger than %d bytes; send less at a time', 413),
  UNSUPPORTED_MEDIA_TYPE: createError('FST_FLAGS_UNSUPPORTED_MEDIA_TYPE', 'Send JSON with "Content-Type: application/json", not %s', 415),
  INVALID_IF_MATCH: createError('FST_FLAGS_INVALID_IF_MATCH', 'If-Match is malformed; send the ETag of your last read, such as "42" with its quotes, or * to overwrite whatever is there', 400),
  UNAUTHORIZED: createError('FST_FLAGS_UNAUTHORIZED', '%s', 401),
  FORBIDDEN: createError('FST_FLAGS_FORBIDDEN', '%s', 403),
  FLAG_NOT_FOUND: createError('FST_FLAGS_FLAG_NOT_FOUND', 'There is no flag %s', 404),
  SEGMENT_NOT_FOUND: createError('FST_FLAGS_SEGMENT_NOT_FOUND', 'There is no segment %s', 404),
  ROUTE_NOT_FOUND: createError('FST_FLAGS_ROUTE_NOT_FOUND', 'There is no route %s', 404),
  METHOD_NOT_ALLOWED: createError('FST_FLAGS_METHOD_NOT_ALLOWED', 'This path takes no %s, but %s', 405),
  FLAG_OFF: createError('FST_FLAGS_FLAG_OFF', 'This is not available', 404),
  IN_USE: createError('FST_FLAGS_IN_USE', '%s is needed by %s; change them first', 409),
  NO_ROLLOUT: createError('FST_FLAGS_NO_ROLLOUT', '%s', 409),
  ROLLOUT_CONFLICT: createError('FST_FLAGS_ROLLOUT_CONFLICT', '%s', 409),
  VERSION_NOT_FOUND: createError('FST_FLAGS_VERSION_NOT_FOUND', 'Flag %s has no version %s to go back to%s', 404),
  VERSION_GONE: createError('FST_FLAGS_VERSION_GONE', 'Version %s of flag %s is no longer in the log, which begins at %s; write the document you want with PUT', 410),
  WRONG_ENVIRONMENT: createError('FST_FLAGS_WRONG_ENVIRONMENT', '%s', 409),
  IMPORT_INCOMPLETE: createError('FST_FLAGS_IMPORT_INCOMPLETE', 'Only %d of %d documents were written; see details, and import again: what is there already stays as it is (%s)', 409),
  NEWER_DOCUMENT: createError('FST_FLAGS_NEWER_DOCUMENT', '%s was written by a newer version of fastify-flags, with fields that this one does not know (%s); upgrade this process to change it', 409),
  VERSION_CONFLICT: createError('FST_FLAGS_VERSION_CONFLICT', '%s is now at version %s, not %s; read it again, apply your change to that, and retry', 412),
  NOT_EVALUATED: createError('FST_FLAGS_NOT_EVALUATED', 'The flag %s cannot be evaluated: %s', 422),
  TOO_MANY_ATTEMPTS: createError('FST_FLAGS_TOO_MANY_ATTEMPTS', 'Too many unknown tokens came from this address; try again in %d seconds', 429),
  VERSION_REQUIRED: createError('FST_FLAGS_VERSION_REQUIRED', '%s exists; say which version you change with If-Match: "<version>" (its ETag), or overwrite whatever is there with If-Match: *', 428),
  TOO_MANY_STREAMS: createError('FST_FLAGS_TOO_MANY_STREAMS', 'This server holds as many event streams as it takes (%d); ask again from time to time, or later for a stream', 503),
  INTERNAL: createError('FST_FLAGS_INTERNAL', 'Something went wrong here; the log of this server says what', 500),

  // What experiments are told
  EVENT_REFUSED: createError('FST_FLAGS_EVENT_REFUSED', '%s', 400),
  EVENTS_FULL: createError('FST_FLAGS_EVENTS_FULL', 'Too many events wait to be recorded; nothing of this batch was taken, send it again later', 503),
  EXPERIMENT_NOT_FOUND: createError('FST_FLAGS_EXPERIMENT_NOT_FOUND', 'The flag %s has no experiment in the environment %s; it needs "experiment": {} beside a serve that draws: a split, a percentage or stages', 404),
  EVENTS_WAITING: createError('FST_FLAGS_EVENTS_WAITING', 'Experiments cannot be counted now; up to %d of their events are kept until they can: %s', 503),
  EVENTS_LOST: createError('FST_FLAGS_EVENTS_LOST', '%d events of experiments were lost: %s', 503),
  GUARD_WAITING: createError('FST_FLAGS_GUARD_WAITING', 'Guards of rollouts cannot count or act now; what they saw is kept, and they go on as soon as they can: %s', 503),
  OUTCOMES_LOST: createError('FST_FLAGS_OUTCOMES_LOST', '%d requests under a guard were not counted: %s', 503),

  // What the store answered
  STORE_UNAVAILABLE: createError('FST_FLAGS_STORE_UNAVAILABLE', 'The store cannot be reached, and nothing can be written until it is back: %s', 503),
  STORE_UNKNOWN: createError('FST_FLAGS_STORE_UNKNOWN', 'The store did not answer in time; the change may or may not have been applied, read before you retry: %s', 503),
  READ_ONLY: createError('FST_FLAGS_READ_ONLY', 'This process follows a store that another one writes; send the change there: %s', 503),
  FOREIGN_EPOCH: createError('FST_FLAGS_FOREIGN_EPOCH', 'The store was emptied or replaced since this process last read it, nothing was written; try again once it has caught up', 503),
  STORE_DAMAGED: createError('FST_FLAGS_STORE_DAMAGED', '%s', 503),
  DAMAGED_DOCUMENT: createError('FST_FLAGS_DAMAGED_DOCUMENT', 'The %s cannot be read from the store (%s); %s. Write it again to mend it', 503),
  STORE_EMPTIED: createError('FST_FLAGS_STORE_EMPTIED', 'The store was emptied: it holds nothing any more, not even its epoch. What was last read (revision %s) is still served. Put its data back, or begin anew with fastify-flags reset', 503),
  STORE_REPLACED: createError('FST_FLAGS_STORE_REPLACED', 'The store no longer holds what was last read (revision %s): it was replaced, or went back in time. What it holds now (revision %s) is served', 503),
  STORE_RESTORED: createError('FST_FLAGS_STORE_RESTORED', 'The store had been emptied; this process put back what it held of revision %s: %d documents. The log before that is gone', 503),
  STORE_RESET: createError('FST_FLAGS_STORE_RESET', 'All flags were removed on purpose, by fastify-flags reset; what was last read (revision %s) is not put back', 503),
  WRITES_LOST: createError('FST_FLAGS_WRITES_LOST', 'The store lost %d writes that it had acknowledged to this process: %s. Make them again if they are still wanted', 503),
  SNAPSHOT_FILE: createError('FST_FLAGS_SNAPSHOT_FILE', 'The snapshot file %s', 503),
  STORE_CLOSED: createError('FST_FLAGS_STORE_CLOSED', 'The store is closed', 503),
  NOT_READY: createError('FST_FLAGS_NOT_READY', 'No flags have been loaded yet; try again', 503),

  // What a developer wrote
  CONTEXT_FAILED: createError('FST_FLAGS_CONTEXT_FAILED', 'The context of a request could not be had: %s. Flags were evaluated without any', 500),
  INVALID_OPTION: createError('FST_FLAGS_INVALID_OPTION', '%s', 500),
  ALREADY_REGISTERED: createError('FST_FLAGS_ALREADY_REGISTERED', 'fastify-flags is already registered in this scope; to use two namespaces, register each inside its own scope: app.register(async (scope) => { await scope.register(flags, { namespace: \'other\' }) })', 500)
} as const

/** True for an error of the table above. */
export function isFlagsError (error: unknown): error is FlagsError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('FST_FLAGS_')
}

/** What was thrown, in words: it may be no error. */
export function textOf (thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : inspect(thrown)
}
