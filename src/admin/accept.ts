import { errors, type ErrorDetail } from '../errors.js'
import { settleRollouts } from '../model/stages.js'
import { checkFlag, checkSegment, readFlag, readSegment } from '../model/check.js'
import type { Flag } from '../model/flag.js'
import type { Others } from '../model/references.js'
import type { Segment } from '../model/segment.js'
import type { Kind } from '../store/store.js'
import { withoutKept, type Documents } from './documents.js'

/**
 * Where what the server keeps in a document comes from (when it was created, where its rollouts stand). current: from what is
 * there, whatever was sent. restored: for a new document from itself. moved: where its rollouts stand always from itself.
 */
export type Keeping = 'current' | 'restored' | 'moved'

export interface Acceptance {
  keeping?: Keeping
  /** Whether what is wrong with `current` already is let pass: a switch must work, whatever became of what the flag names. */
  lenient?: boolean
}

/**
 * A document as it is to be stored in place of `current`, or what is wrong with it. Throws NEWER_DOCUMENT when fields of
 * `current` that this version does not know would be lost.
 */
export function accept<K extends Kind> (kind: K, key: string, document: unknown, current: Documents[K] | undefined, others: Others, now: number, { keeping = 'current', lenient = false }: Acceptance = {}): { value: Documents[K] } | { details: ErrorDetail[] } {
  const check = (document: unknown) => kind === 'flag' ? checkFlag(key, document, others) : checkSegment(key, document, others)
  const checked = check(document)
  if ('details' in checked && !(lenient && current !== undefined && isOld(checked.details, check(current)))) return checked
  if (current !== undefined) {
    const read = readText(kind, JSON.stringify(current))
    if ('unknownFields' in read && read.unknownFields.length > 0) throw new errors.NEWER_DOCUMENT(`The ${kind} ${key}`, read.unknownFields.join(', '))
  }
  const value = 'value' in checked ? checked.value : JSON.parse(JSON.stringify(document)) as Flag | Segment
  const before: Flag | Segment | undefined = current ?? (keeping === 'current' ? undefined : value)
  const created = before?.createdAt === undefined ? NaN : Date.parse(before.createdAt)
  const createdAt = Number.isNaN(created) && current === undefined ? new Date(now).toISOString() : before?.createdAt
  const plain = withoutKept(value)
  const settled = kind === 'flag' ? settleRollouts((keeping === 'moved' ? value : before) as Flag | undefined, plain as Flag, now) : plain
  return { value: { ...settled, ...createdAt !== undefined && { createdAt } } as Documents[K] }
}

function isOld (details: ErrorDetail[], before: ReturnType<typeof checkFlag | typeof checkSegment>): boolean {
  return 'details' in before && details.every(({ path, message }) => before.details.some((old) => old.path === path && old.message === message))
}

export function readText (kind: Kind, text: string) {
  return kind === 'flag' ? readFlag(text) : readSegment(text)
}

export function invalidDocument (what: string, details: ErrorDetail[]): Error {
  const [first] = details
  const more = details.length === 1 ? '' : `, and ${details.length - 1} more`
  return Object.assign(new errors.INVALID_DOCUMENT(what, `${first?.path || 'it'} ${first?.message ?? ''}${more}`), { details })
}
