import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { ErrorDetail } from '../errors.js'
import { bounded, faultsOf, type Fault } from './faults.js'
import { Flag } from './flag.js'
import { checkFlagMeaning } from './flag-check.js'
import { jsonTypeOf, pointer } from './json.js'
import { isKey, keyDescription } from './key.js'
import { maxEffort } from './operators.js'
import type { Others } from './references.js'
import { Segment } from './segment.js'
import { checkSegmentMeaning } from './segment-check.js'
import type { Sound } from './when-check.js'

/** How large a document may be: bytes of its JSON text in UTF-8, without needless blanks. */
export const maxDocumentBytes = 1024 * 1024

/** How deep a document may nest: a `when` of 16 levels needs 40, and a file or a body that holds documents may have 100. */
const maxDepth = 90

export type Checked<T> = { value: T } | { details: ErrorDetail[] }
export type Read<T> = { value: T, unknownFields: readonly string[] } | { details: ErrorDetail[] }

const isFlag = compiled(Flag)
const isSegment = compiled(Segment)
/** Fields that are unknown are not looked for, which is half the work of a check. */
const isLikeFlag = Compile(open(Flag))
const isLikeSegment = Compile(open(Segment))

/**
 * Checks a flag that somebody wants to store under `key`: its form, what it means, and what it names among `others`.
 * Gives a copy of it as JSON keeps it (a Date is its text, `undefined` is left out), or every field that is at fault.
 */
export function checkFlag (key: string, document: unknown, others: Others): Checked<Flag> {
  return check(key, document, Flag, isFlag, (flag, sound) => checkFlagMeaning(key, flag as Flag, { others, sound, effort: maxEffort() }))
}

/** The same for a segment. */
export function checkSegment (key: string, document: unknown, others: Others): Checked<Segment> {
  return check(key, document, Segment, isSegment, (segment, sound) => checkSegmentMeaning(key, segment as Segment, { others, sound, effort: maxEffort() }))
}

/**
 * Reads a flag as a store holds it. Fields that this version does not know are kept and named (as JSON pointers), and so is
 * whatever it does not understand inside a `when`, which evaluation refuses to match. Anything else wrong is `details`: damaged.
 */
export function readFlag (text: string): Read<Flag> {
  return read<Flag>(text, Flag, isFlag, insideWhen.flag)
}

/** The same for a segment. */
export function readSegment (text: string): Read<Segment> {
  return read<Segment>(text, Segment, isSegment, insideWhen.segment)
}

/** Reads a flag as `readFlag` does, for loading many: the fields that this version does not know are not named. */
export function loadFlag (text: string): Checked<Flag> {
  return read<Flag>(text, Flag, isLikeFlag, insideWhen.flag)
}

/** The same for a segment. */
export function loadSegment (text: string): Checked<Segment> {
  return read<Segment>(text, Segment, isLikeSegment, insideWhen.segment)
}

const insideWhen = { flag: /^(?:\/environments\/[^/]*)?\/rules\/\d+\/when(?:\/|$)/, segment: /^\/when(?:\/|$)/ }

/** The schema that also takes fields which are unknown. Where people choose the names, these are as wrong as before. */
function open (schema: TSchema): TSchema {
  return JSON.parse(JSON.stringify(schema), (_name, value) => {
    if (value?.properties !== undefined) delete value.additionalProperties
    return value
  })
}

interface Validator { Check (value: unknown): boolean }

/** Compiled when it is first asked: who only reads flags needs none of the validators for writing. */
function compiled (schema: TSchema): Validator {
  let validator: Validator | undefined
  return { Check: (value) => (validator ??= Compile(schema)).Check(value) }
}

function check<T> (key: string, document: unknown, schema: TSchema, validator: Validator, meaning: (value: unknown, sound: Sound) => Iterable<ErrorDetail>): Checked<T> {
  const copied = copy(document)
  if ('details' in copied) return copied
  const { value } = copied
  const faults = validator.Check(value) ? [] : faultsOf(schema, value)
  const sound = soundness(faults.filter(({ kind }) => kind !== 'unknown').map(({ path }) => path))
  const details = told(function * () {
    if (!isKey(key)) yield { path: '/key', message: `${JSON.stringify(key)} cannot be a key; take ${keyDescription}` }
    for (const { path, message } of faults) yield { path, message }
    if (jsonTypeOf(value) === 'object') yield * meaning(value, sound)
  }())
  return details.length === 0 ? { value: value as T } : { details }
}

function soundness (wrong: string[]): Sound {
  const at = new Set(wrong)
  const around = new Set(wrong.flatMap(enclosing))
  return (path) => !at.has(path) && !around.has(path) && !enclosing(path).some((place) => at.has(place))
}

/** The places that a place is in, from the whole document inwards. */
function enclosing (path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

/** The document as JSON keeps it, or why it cannot be kept. */
function copy (document: unknown): { value: unknown } | { details: ErrorDetail[] } {
  let text: string | undefined
  try {
    text = JSON.stringify(document)
  } catch (error) {
    return whole(`cannot be written as JSON: ${error instanceof RangeError ? 'it nests too deep' : firstLine(error)}`)
  }
  if (text === undefined) return { value: undefined }
  const bytes = Buffer.byteLength(text)
  if (bytes > maxDocumentBytes) return whole(`must be at most ${maxDocumentBytes} bytes of JSON, not ${bytes}; name groups instead of users, or use a segment`)
  const value: unknown = JSON.parse(text)
  const details = told(unkeepable(value, '', 1))
  return details.length > 0 ? { details } : { value }
}

/** What `parseJson` refuses too, for documents that come from code. */
function * unkeepable (value: unknown, path: string, depth: number): Generator<ErrorDetail> {
  if (typeof value !== 'object' || value === null) return
  if (depth > maxDepth) return yield { path, message: `nests deeper than ${maxDepth} levels; flatten it` }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (typeof value[i] === 'object') yield * unkeepable(value[i], pointer(path, i), depth + 1)
  } else {
    for (const [name, field] of Object.entries(value)) {
      if (name === '__proto__') yield { path: pointer(path, name), message: 'must not be called "__proto__": choose another name' }
      else if (typeof field === 'object') yield * unkeepable(field, pointer(path, name), depth + 1)
    }
  }
}

const nothing: readonly string[] = Object.freeze([])

function read<T> (text: string, schema: TSchema, validator: Validator, insideWhen: RegExp): Read<T> {
  let value: unknown
  let faults: Fault[]
  try {
    value = JSON.parse(text)
    if (validator.Check(value)) return { value: value as T, unknownFields: nothing }
    faults = faultsOf(schema, value)
  } catch (error) {
    return whole(error instanceof RangeError ? 'nests too deep to be read' : `is not JSON: ${firstLine(error)}`)
  }
  const ignored = faults.filter(({ kind, path }) => kind === 'unknown' || (insideWhen.test(path) && !(kind === 'missing' && path.endsWith('/when'))))
  if (ignored.length === faults.length) return { value: value as T, unknownFields: ignored.map(({ path }) => path) }
  return { details: faults.filter((fault) => !ignored.includes(fault)).map(({ path, message }) => ({ path, message })) }
}

function firstLine (error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!
}

function whole (message: string): { details: ErrorDetail[] } {
  return { details: [{ path: '', message }] }
}

function told (details: Iterable<ErrorDetail>): ErrorDetail[] {
  return bounded(details, { path: '', message: 'has more fields to mend than are told here' })
}
