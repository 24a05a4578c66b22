import type { TSchema } from 'typebox'
import { Check } from 'typebox/value'
import type { ErrorDetail } from '../errors.js'
import { jsonTypeOf, pointer, type JsonType } from './json.js'
import { Key, MetadataName } from './key.js'
import { didYouMean, nearest } from './nearest.js'

/**
 * What is wrong with one field. `kind` is `unknown` for a field that the schema does not have, which a reader may ignore;
 * `missing` for one that must be there.
 */
export interface Fault extends ErrorDetail { kind: 'unknown' | 'missing' | 'wrong' }

/** The keywords of JSON Schema that this looks at. `description` reads on from "must be …": it is the mending sentence. */
interface Schema {
  $ref?: string
  $defs?: Definitions
  anyOf?: Schema[]
  enum?: unknown[]
  type?: string
  description?: string
  pattern?: string
  properties?: Record<string, Schema>
  required?: string[]
  patternProperties?: Record<string, Schema>
  additionalProperties?: boolean | Schema
  minProperties?: number
  maxProperties?: number
  items?: Schema
  minItems?: number
  maxItems?: number
}
type Definitions = Record<string, Schema>
type Fields = Record<string, unknown>

/** So many faults of one value are told one by one; of more, that there are more. */
const most = 1000

/**
 * Everything that keeps a value from fitting a schema, with the place of each and how to mend it; an empty list when it fits.
 * TypeBox's own errors stop at eight and tell of every branch of a union; this follows the one branch that was meant.
 */
export function faultsOf (schema: TSchema, value: unknown): Fault[] {
  return bounded(walk(schema as Schema, value, '', {}), { kind: 'wrong', path: '', message: 'has more fields to mend than are told here' })
}

/** The first 1,000 of the details, and `more` if there are more. */
export function bounded<Detail> (details: Iterable<Detail>, more: Detail): Detail[] {
  const told: Detail[] = []
  for (const detail of details) {
    if (told.length === most) return [...told, more]
    told.push(detail)
  }
  return told
}

function * walk (given: Schema, value: unknown, path: string, outer: Definitions): Generator<Fault> {
  const definitions = given.$defs === undefined ? outer : { ...outer, ...given.$defs }
  const schema = given.$ref === undefined ? given : definitions[given.$ref]!
  if (schema.anyOf !== undefined) yield * walkUnion(schema, schema.anyOf, value, path, definitions)
  else if (schema.type === 'object' && isObject(value)) yield * walkObject(schema, value, path, definitions)
  else if (schema.type === 'array' && Array.isArray(value)) yield * walkList(schema, value, path, definitions)
  else if (!Check(schema as TSchema, value)) yield wrong(path, schema, value)
}

function * walkList (schema: Schema, list: unknown[], path: string, definitions: Definitions): Generator<Fault> {
  const { minItems = 0, maxItems = Infinity, items } = schema
  if (list.length < minItems) yield wrong(path, schema, list)
  if (list.length > maxItems) yield { kind: 'wrong', path, message: `must have at most ${maxItems} entries, not ${list.length}` }
  else if (items !== undefined) for (let i = 0; i < list.length; i++) yield * walk(items, list[i], pointer(path, i), definitions)
}

function * walkObject (schema: Schema, object: Fields, path: string, definitions: Definitions): Generator<Fault> {
  const { properties = {}, patternProperties = {}, additionalProperties = true, required = [], minProperties = 0, maxProperties = Infinity } = schema
  const names = Object.keys(object).filter((name) => object[name] !== undefined)
  if (names.length < minProperties) yield wrong(path, schema, object)
  if (names.length > maxProperties) {
    yield { kind: 'wrong', path, message: `must have at most ${maxProperties} fields, not ${names.length}` }
    return
  }
  const patterns = Object.entries(patternProperties).map(([source, schema]) => ({ source, pattern: new RegExp(source, 'u'), schema }))
  const slips = new Set<string>()
  for (const name of names) {
    const place = pointer(path, name)
    const field = Object.hasOwn(properties, name) ? properties[name] : patterns.find(({ pattern }) => pattern.test(name))?.schema
    if (field !== undefined) yield * walk(field, object[name], place, definitions)
    else if (additionalProperties === false && patterns[0] !== undefined) yield badName(place, name, patterns[0].source)
    else if (additionalProperties === false) {
      const slip = nearest(name, Object.keys(properties).filter((known) => !Object.hasOwn(object, known)))
      if (slip !== undefined) slips.add(slip)
      // A slip in a field that must be there is one fault, and not one that a reader may ignore.
      yield { kind: slip !== undefined && required.includes(slip) ? 'wrong' : 'unknown', path: place, message: unknownField(slip, properties) }
    } else if (additionalProperties !== true) yield * walk(additionalProperties, object[name], place, definitions)
  }
  for (const name of required) {
    if (!names.includes(name) && !slips.has(name)) {
      yield { kind: 'missing', path: pointer(path, name), message: `is missing; it ${mustBe(follow(properties[name]!, definitions))}` }
    }
  }
}

function * walkUnion (union: Schema, branches: Schema[], value: unknown, path: string, definitions: Definitions): Generator<Fault> {
  if (Array.isArray(value)) {
    const list = branches.map((branch) => follow(branch, definitions)).find(({ type }) => type === 'array')
    if (list !== undefined) return yield * walkList({ description: union.description, ...list }, value, path, definitions)
  } else if (isObject(value)) {
    const objects = branches.map((branch) => follow(branch, definitions)).filter(({ type }) => type === 'object')
    const branch = meant(objects, value)
    if (branch !== undefined) return yield * walkBranch(union, objects, branch, value, path, definitions)
  } else if (branches.some((branch) => walk(branch, value, path, definitions).next().done)) {
    return
  }
  const mayBeText = typeof value === 'string' && branches.some((branch) => follow(branch, definitions).type === 'string')
  yield mayBeText ? { kind: 'wrong', path, message: mustBe(union) } : wrong(path, union, value)
}

/** Walks the branch that was meant; fields of the other branches are told to be that, not to be unknown. */
function * walkBranch (union: Schema, objects: Schema[], branch: Schema, value: Fields, path: string, definitions: Definitions): Generator<Fault> {
  const has = ({ properties = {} }: Schema, name: string) => Object.hasOwn(properties, name)
  const foreign = Object.keys(value).filter((name) => branch.properties !== undefined && !has(branch, name) && objects.some((other) => has(other, name)))
  const own = Object.keys(value).find((name) => has(branch, name))
  for (const name of foreign) {
    yield { kind: 'wrong', path: pointer(path, name), message: `must not stand beside "${own}"; here is ${union.description ?? 'one or the other'}` }
  }
  yield * walkObject({ description: union.description, ...branch }, Object.fromEntries(Object.entries(value).filter(([name]) => !foreign.includes(name))), path, definitions)
}

/** The branch that shares most fields with the value, by their names or what may be a slip in them; undefined when none shares any. */
function meant (objects: Schema[], value: Fields): Schema | undefined {
  if (objects.length === 1) return objects[0]
  let best: Schema | undefined
  let most = 0
  for (const branch of objects) {
    const names = Object.keys(branch.properties ?? {})
    const shared = Object.keys(value).slice(0, 20).reduce((sum, name) => sum + (names.includes(name) ? 1 : nearest(name, names) === undefined ? 0 : 0.1), 0)
    if (shared > most) [best, most] = [branch, shared]
  }
  return best
}

function follow (schema: Schema, definitions: Definitions): Schema {
  return schema.$ref === undefined ? schema : (schema.$defs?.[schema.$ref] ?? definitions[schema.$ref]!)
}

function unknownField (slip: string | undefined, properties: Record<string, Schema>): string {
  return `is not a field known here; ${slip === undefined ? `there are ${Object.keys(properties).join(', ')}` : `did you mean "${slip}"?`}`
}

function badName (path: string, name: string, pattern: string): Fault {
  const rule = ([Key, MetadataName] as Schema[]).find((schema) => schema.pattern === pattern)?.description ?? `one that matches ${pattern}`
  return { kind: 'wrong', path, message: `the name must be ${rule}` }
}

function wrong (path: string, schema: Schema, value: unknown): Fault {
  return { kind: 'wrong', path, message: mustBe(schema) + butIs(schema, value) }
}

function mustBe ({ description, type = 'something else', enum: values }: Schema): string {
  return `must be ${description ?? (values !== undefined ? `one of ${values.join(', ')}` : type)}`
}

/** What the value is instead, where the sentence before does not make it plain. */
function butIs ({ type, enum: values }: Schema, value: unknown): string {
  const is = jsonTypeOf(value)
  if (typeof value === 'string') {
    if (values !== undefined) return didYouMean(value, values.map(String))
    if ((type === 'number' || type === 'integer') && /^-?\d+(\.\d+)?$/.test(value.trim())) return `; write ${Number(value)} without quotes`
    if (type === 'boolean' && /^(true|false)$/i.test(value.trim())) return `; write ${value.trim().toLowerCase()} without quotes`
  }
  if (Array.isArray(value) && value.length === 0) return ', not an empty list'
  if (isObject(value) && Object.keys(value).length === 0) return ', not an empty object'
  if (is === undefined || is === type || (is === 'number' && type === 'integer')) return ''
  // Only a boolean is made a text: an object may have a `toString` of its own, which is none.
  return `, not ${typeof value === 'boolean' ? value : called[is]}`
}

const called: Record<JsonType, string> = { null: 'null', boolean: 'a boolean', number: 'a number', string: 'a text', array: 'a list', object: 'an object' }

function isObject (value: unknown): value is Fields {
  return jsonTypeOf(value) === 'object'
}
