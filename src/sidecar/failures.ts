import { isFlagsError } from '../errors.js'

/** What a person typed, or set in the environment, and how to mend it. */
export class UsageError extends Error {}

/** Why it cannot be done, though it was asked rightly. */
export class FailedError extends Error {}

/** The server is not there, or does not answer. */
export class UnreachableError extends Error {}

/** With what a command ends, and what that means. */
export const exitCodes = {
  0: 'it was done, or is so already',
  1: 'it was refused, or failed',
  2: 'the command, an option or a variable is wrong',
  3: 'the server or the store cannot be reached just now: try again',
  4: 'there is no such flag'
} as const

const passing = ['STORE_UNAVAILABLE', 'STORE_UNKNOWN', 'STORE_EMPTIED', 'FOREIGN_EPOCH', 'NOT_READY', 'STORE_CLOSED', 'TOO_MANY_ATTEMPTS'].map((name) => `FST_FLAGS_${name}`)

/** Undefined for an error of ours alone: a bug, which is to be seen as one. */
export function exitCodeOf (error: unknown): keyof typeof exitCodes | undefined {
  if (error instanceof UsageError) return 2
  if (error instanceof UnreachableError) return 3
  if (error instanceof FailedError) return 1
  if (!isFlagsError(error)) return undefined
  return passing.includes(error.code) ? 3 : error.code === 'FST_FLAGS_FLAG_NOT_FOUND' ? 4 : 1
}
