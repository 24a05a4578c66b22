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
  MASTERDOWN: 'this Redis replica has lost its primary'
}
const codes = new RegExp(`\\b(${Object.keys(meanings).join('|')}|WRONGTYPE)\\b`)

/** True when Redis itself refused: nothing was applied. Anything else (a timeout, a closed connection) leaves that open. */
export function isReply (error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/** True when there was no connection to send it on. */
export function wasNotSent (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Stream isn\'t writeable')
}

/** The typed error for what ioredis threw. Its message tells Redis's reason, never an argument, a password or a URL. */
export function storeError (error: unknown, connection: string, unreachable: string | undefined): FlagsError {
  if (isFlagsError(error)) return error
  const message = error instanceof Error ? error.message : String(error)
  if (!isReply(error)) {
    return new errors.STORE_UNAVAILABLE(`no answer from Redis at ${connection} (${unreachable ?? 'connection lost or timed out'})`)
  }
  // A script's errors may come without their code.
  const code = codes.exec(message)?.[1] ?? (/ACL failure|executing the script can't|no permissions/.test(message) ? 'NOPERM' : undefined)
  const said = message.slice(0, 300)
  if (code === 'WRONGTYPE') return new errors.STORE_DAMAGED(`A key of the flags at Redis ${connection} holds something else: ${said}`)
  return new errors.STORE_UNAVAILABLE(`${code === undefined ? 'Redis refused' : meanings[code]} (${connection}): ${said}`)
}
