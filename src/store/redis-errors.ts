import { errors, isFlagsError, type FlagsError } from '../errors.js'

/** What Redis's error codes mean to whoever runs it. */
const meanings: Record<string, string> = {
  OOM: 'Redis is out of memory (maxmemory)',
  READONLY: 'this Redis server is a read-only replica',
  NOPERM: 'this Redis user lacks a permission',
  NOAUTH: 'Redis asks for a password',
  WRONGPASS: 'Redis refuses this user name and password',
  MISCONF: 'Redis cannot persist to its disk and refuses writes',
  NOREPLICAS: 'Redis has too few replicas and refuses writes',
  LOADING: 'Redis is still loading its data',
  BUSY: 'Redis is busy with a long script',
  CLUSTERDOWN: 'the Redis Cluster is down',
  MOVED: 'another node of the Redis Cluster holds the flags (a Cluster is given as { nodes })',
  ASK: 'the flags are being moved to another node of the Redis Cluster',
  TRYAGAIN: 'the flags are being moved to another node of the Redis Cluster',
  MASTERDOWN: 'this Redis replica has lost its primary'
}
const codes = new RegExp(`\\b(${Object.keys(meanings).join('|')}|WRONGTYPE)\\b`)

/** True when Redis itself refused: nothing was applied. Anything else (a timeout, a closed connection) leaves that open. */
export function isReply (error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/** True when there was no connection to send it on. */
export function wasNotSent (error: unknown): boolean {
  return error instanceof Error && /^(Stream|Cluster) isn't (writeable|ready)/.test(error.message)
}

/** True when a node of a Cluster refused because our slot is, or is about to be, another one's. Nothing was applied. */
export function wasElsewhere (error: unknown): boolean {
  return isReply(error) && /^(MOVED|ASK|TRYAGAIN) /.test(error.message)
}

/** The typed error for what ioredis threw. Its message tells Redis's reason, never an argument, a password or a URL. */
export function storeError (error: unknown, where: string, unreachable: string | undefined): FlagsError {
  if (isFlagsError(error)) return error
  if (isReply(error) && codeOf(error) === 'WRONGTYPE') {
    return new errors.STORE_DAMAGED(`A key of the flags in Redis at ${where} holds something else: ${error.message}`)
  }
  return new errors.STORE_UNAVAILABLE(reasonOf(error, where, unreachable))
}

/** Why Redis did not do as asked; `unreachable` is what the connection last failed with. */
export function reasonOf (error: unknown, where: string, unreachable: string | undefined): string {
  if (!isReply(error)) return `no answer from Redis at ${where} (${unreachable ?? 'connection lost or timed out'})`
  return `${meanings[codeOf(error) ?? ''] ?? 'Redis refused'} (${where}): ${error.message.slice(0, 300)}`
}

function codeOf ({ message }: Error): string | undefined {
  // A script's errors may come without their code.
  return codes.exec(message)?.[1] ?? (/ACL failure|executing the script can't|no permissions/.test(message) ? 'NOPERM' : undefined)
}
