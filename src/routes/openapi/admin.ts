import Type from 'typebox'
import { Environment, Flag } from '../../model/flag.js'
import { Key } from '../../model/key.js'
import { Segment } from '../../model/segment.js'
import { asking } from './asking.js'
import type { Answer, Body, ErrorName, Operation, Operations, Parameter, Schema } from './operation.js'

const Time = { type: 'string', format: 'date-time' }
const integer = (description: string) => Type.Integer({ description })
const kept = {
  key: Key,
  version: integer('The revision of the store that the last change made: higher with each change, and never used twice.'),
  createdAt: Type.Optional(Type.Unsafe(Time)),
  updatedAt: Type.Unsafe(Time),
  updatedBy: Type.Optional(Type.String({ description: 'The name of whose token made the last change.' }))
}
const stored = (schema: Schema, description: string) => ({ allOf: [schema, Type.Object(kept)], description })
const StoredFlag = stored(Flag, 'A flag as it is stored, with its version.')
const StoredSegment = stored(Segment, 'A segment as it is stored, with its version.')
const FlagPatch = {
  description: 'A JSON merge patch that goes one level deep: each field named, of the flag and of each environment named, is replaced as a whole; null removes it.',
  type: 'object',
  properties: { environments: { type: 'object', additionalProperties: { anyOf: [Environment, { type: 'null' }] } } },
  additionalProperties: true
}
const Names = { type: 'array', items: { type: 'string' } }
const TargetNames = Type.Object({ users: Type.Optional(Type.Unsafe(Names)), groups: Type.Optional(Type.Unsafe(Names)), regions: Type.Optional(Type.Unsafe(Names)) }, { additionalProperties: false })
const bodyVersion = Type.Optional(integer('The version that this change applies to; left out, whatever is there.'))
const TargetsChange = Type.Object({ variant: Type.Optional(Key), add: Type.Optional(TargetNames), remove: Type.Optional(TargetNames), version: bodyVersion }, { additionalProperties: false, description: 'Whom to add to a variant, and whom to remove.' })
const SwitchChange = Type.Object({ version: bodyVersion }, { additionalProperties: false })
const Versions = Type.Object({ version: kept.version, updatedAt: kept.updatedAt, updatedBy: kept.updatedBy })
const FlagVersion = { allOf: [Versions, Type.Object({ flag: Type.Union([Flag, Type.Null()], { description: 'Null where it was deleted.' }) })], description: 'One version of a flag.' }
const ChangeRecord = {
  allOf: [Versions, Type.Object({ kind: Type.Enum(['flag', 'segment', 'store']), key: Type.String(), deleted: Type.Boolean(), details: Type.Optional(Type.Unknown()) })],
  description: 'A change of a flag or segment; or of kind `store`, what happened to all of them, with its details.'
}
const DocumentSet = Type.Object({ flags: Type.Optional(Type.Record(Type.String(), Flag)), segments: Type.Optional(Type.Record(Type.String(), Segment)) }, { additionalProperties: false, description: 'Flags and segments by their keys, as a store\'s file has them.' })
const Imported = Type.Object({ key: Key, action: Type.Enum(['create', 'replace', 'none']), version: Type.Optional(integer('The version it made.')) })
const ImportReport = Type.Object({ dryRun: Type.Boolean(), flags: Type.Array(Imported), segments: Type.Array(Imported) })
const Step = Type.Object({ check: Type.String({ description: 'The line of the order of decision: `enabled`, `prerequisite`, `target-user`, `target-group`, `target-region`, `rule`, `serve`; or `failure`.' }), answers: Type.Boolean({ description: 'Whether it decided.' }), why: Type.Optional(Type.String()) }, { additionalProperties: true })
const Explanation = Type.Object({ key: Key, environment: Key, now: Type.Unsafe(Time), steps: Type.Array(Step), resolution: Type.Object({}, { additionalProperties: true, description: 'OpenFeature\'s resolution details, and `enabled`.' }) }, { description: 'The lines of the order of decision that were asked, with the values they saw; the last one answered.' })

const flagExample = { key: 'new_search', enabled: true, serve: { percentage: 10 }, version: 42, createdAt: '2027-01-04T09:00:00.000Z', updatedAt: '2027-01-05T10:30:00.000Z', updatedBy: 'alice' }
const segmentExample = { key: 'eu-countries', when: { attribute: 'country', operator: 'in', value: ['de', 'fr'] }, version: 7, createdAt: '2027-01-04T09:00:00.000Z', updatedAt: '2027-01-04T09:00:00.000Z', updatedBy: 'alice' }

const etag = { ETag: 'The version in quotes, such as `"42"`: to be sent back in If-Match.' }
export const storedFlag = (description: string): Answer => ({ description, schema: StoredFlag, example: flagExample, headers: etag })
const segment = (description: string): Answer => ({ description, schema: StoredSegment, example: segmentExample, headers: etag })
const created = (answer: Answer): Answer => ({ ...answer, headers: { ...answer.headers, Location: 'Where it is.' } })
const deleted: Answer = { description: 'It is gone.' }
const unchanged: Answer = { description: 'It is still what If-None-Match names.', headers: etag }

const limit: Parameter = { description: 'At most so many, 50 unless said.', schema: Type.Integer({ minimum: 1, maximum: 1000 }), example: 50 }
const after: Parameter = { description: 'The `next` of the page before.', example: 'new_search' }
const revision = (description: string): Parameter => ({ description, schema: Type.Integer({ minimum: 0 }) })
const key: Record<string, Parameter> = { key: { description: 'The key of the segment.', schema: Key, example: 'eu-countries' } }
const ifNoneMatch: Record<string, Parameter> = { 'If-None-Match': { description: 'ETags of what is already known.', example: '"42"' } }
const ifMatch: Record<string, Parameter> = { 'If-Match': { description: 'The ETag that this change applies to; left out, whatever is there.', example: '"42"' } }
export const mustMatch = {
  'If-Match': { description: 'The ETag that is replaced, or `*` for whatever is there. Needed when there is one, unless the body has its `version`.', example: '"42"' },
  'If-None-Match': { description: '`*`: create it, and replace nothing.' }
} satisfies Record<string, Parameter>

const readErrors: ErrorName[] = ['NOT_READY', 'STORE_UNAVAILABLE', 'STORE_DAMAGED', 'STORE_EMPTIED', 'STORE_CLOSED']
/** Of every write. */
const writeErrors: ErrorName[] = ['STORE_UNKNOWN', 'READ_ONLY', 'FOREIGN_EPOCH', 'NEWER_DOCUMENT', 'VERSION_CONFLICT', 'INVALID_IF_MATCH', 'INVALID_REQUEST']
const replaceErrors: ErrorName[] = [...writeErrors, 'VERSION_REQUIRED']
/** Of every change of a flag that is there. */
const changeErrors: ErrorName[] = [...writeErrors, 'FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT', 'INVALID_DOCUMENT', 'IN_USE']
/** Of going back to a version. */
export const restoreErrors: ErrorName[] = [...replaceErrors, 'VERSION_NOT_FOUND', 'VERSION_GONE', 'INVALID_DOCUMENT', 'IN_USE']

/** A change of a flag in its current version, as a whole and in one environment: the operation of both routes. */
export function changeOfFlag (summary: string, more: Pick<Operation, 'description' | 'body' | 'errors'>): Operation {
  return { summary, description: more.description, access: 'write', headers: ifMatch, body: more.body, answers: { 200: storedFlag('The flag as it is now.') }, errors: [...changeErrors, 'WRONG_ENVIRONMENT', ...more.errors ?? []] }
}

const switchBody: Body = { schema: SwitchChange, required: false, examples: { 'whatever version is there': {}, 'that version only': { version: 42 } } }
const targetsBody: Body = { schema: TargetsChange, examples: { 'let somebody in': { add: { users: ['user_123'] } }, 'another group': { variant: 'on', add: { groups: ['staff'] }, remove: { groups: ['beta'] } } } }
const enable = changeOfFlag('Switch a flag on', { body: switchBody, description: 'With an environment: there alone, which is created when it is missing.' })
const disable = changeOfFlag('Switch a flag off', { body: switchBody, description: 'With an environment: there alone, which is created when it is missing.' })
const targets = changeOfFlag('Add names to a flag\'s targets, and remove names', { body: targetsBody })

export const adminOperations: Operations = {
  tag: { name: 'Admin', description: 'Changes flags and segments. Two people cannot overwrite each other unknowingly: replacing and deleting need the version that is meant.' },
  access: 'read',
  errors: ['INVALID_REQUEST', ...readErrors],
  schemas: { StoredFlag, StoredSegment, FlagPatch, TargetsChange, FlagVersion, ChangeRecord, DocumentSet, ImportReport, Explanation },
  routes: {
    'GET /flags': {
      summary: 'List flags',
      query: {
        tag: { description: 'Those with this tag.' },
        owner: { description: 'Those of this owner.' },
        q: { description: 'Part of the key, description, owner or a tag, in any case.' },
        stale: { description: 'Those past their `expiresAt`, or fully on or off and unchanged for so long: `12h`, `30d`, `2w`.', example: '30d' },
        limit,
        after
      },
      answers: {
        200: {
          description: 'In the order of their keys; `next` where there are more.',
          schema: Type.Object({ flags: Type.Array(Type.Unsafe({ allOf: [StoredFlag, Type.Object({ stale: Type.Optional(Type.Object({ reason: Type.Enum(['expired', 'fully-on', 'fully-off']), since: Type.Unsafe(Time) })) })] })), next: Type.Optional(Type.String()) }),
          example: { flags: [flagExample] }
        }
      }
    },
    'GET /flags/:key': { summary: 'Read a flag', headers: ifNoneMatch, answers: { 200: storedFlag('The flag.'), 304: unchanged }, errors: ['FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT', 'INVALID_IF_MATCH'] },
    'PUT /flags/:key': {
      summary: 'Create or replace a flag',
      access: 'write',
      headers: mustMatch,
      body: { schema: Flag, examples: { 'on for everyone': { enabled: true }, '10 % of users': { enabled: true, serve: { percentage: 10 } }, 'an A/B test': { enabled: true, variants: ['control', 'compact'], serve: { split: { control: 50, compact: 50 } } }, 'by environment': { environments: { staging: { enabled: true }, production: { enabled: false } } } } },
      answers: { 200: storedFlag('It was replaced.'), 201: created(storedFlag('It was created.')) },
      errors: [...replaceErrors, 'INVALID_DOCUMENT', 'IN_USE']
    },
    'PATCH /flags/:key': {
      summary: 'Change the fields that are named',
      access: 'write',
      headers: ifMatch,
      body: { schema: FlagPatch, types: ['application/json', 'application/merge-patch+json'], examples: { 'to a quarter of users': { serve: { percentage: 25 } }, 'in one environment': { environments: { production: { enabled: true } } }, 'without an owner': { owner: null } } },
      answers: { 200: storedFlag('The flag as it is now.') },
      errors: changeErrors
    },
    'DELETE /flags/:key': { summary: 'Delete a flag', access: 'write', headers: mustMatch, answers: { 204: deleted }, errors: [...replaceErrors, 'FLAG_NOT_FOUND', 'IN_USE'] },
    'POST /flags/:key/enable': enable,
    'POST /flags/:key/disable': disable,
    'POST /flags/:key/targets': targets,
    'POST /flags/:key/environments/:environment/enable': enable,
    'POST /flags/:key/environments/:environment/disable': disable,
    'POST /flags/:key/environments/:environment/targets': targets,
    'POST /flags/:key/explain': {
      summary: 'Explain what a flag answers',
      description: 'Every step of the decision with the values it saw, the bucket and the threshold. It counts as no evaluation.',
      body: asking,
      answers: { 200: { description: 'How it came to its answer.', schema: Explanation, example: { key: 'new_search', environment: 'production', now: '2027-01-05T10:30:00.000Z', steps: [{ check: 'enabled', flag: true, answers: false }, { check: 'serve', answers: true, serve: { by: 'targetingKey', hashed: 'user_123', seed: 'new_search', rollout: { in: false, bucket: 61.2, threshold: 10 }, variant: 'off' } }], resolution: { value: false, variant: 'off', reason: 'SPLIT', flagMetadata: { cause: 'rollout-miss', environment: 'production', version: 42 }, enabled: false } } } },
      errors: ['FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT']
    },
    'GET /flags/:key/history': {
      summary: 'A flag\'s versions',
      description: 'The newest first, also of a flag that was deleted.',
      query: { before: revision('Versions below this one: the `next` of the page before.'), limit },
      answers: { 200: { description: '`beginsAt` is the oldest version of anything that the log still holds.', schema: Type.Object({ history: Type.Array(Type.Unsafe(FlagVersion)), next: Type.Optional(Type.Integer()), beginsAt: Type.Integer() }), example: { history: [{ version: 42, updatedAt: flagExample.updatedAt, updatedBy: 'alice', flag: { enabled: true, serve: { percentage: 10 } } }], beginsAt: 1 } } },
      errors: ['FLAG_NOT_FOUND']
    },
    'GET /changes': {
      summary: 'What was changed by whom',
      query: { before: revision('What is older than this version, the newest first.'), after: revision('What is newer than this version, the oldest first: to follow what happens.'), limit },
      answers: { 200: { description: 'With `after` there is always a `next`, to go on from.', schema: Type.Object({ changes: Type.Array(Type.Unsafe(ChangeRecord)), next: Type.Optional(Type.Integer()), beginsAt: Type.Integer() }), example: { changes: [{ version: 42, updatedAt: flagExample.updatedAt, updatedBy: 'alice', kind: 'flag', key: 'new_search', deleted: false }], beginsAt: 1 } } }
    },
    'GET /segments': { summary: 'List segments', query: { limit, after }, answers: { 200: { description: 'In the order of their keys.', schema: Type.Object({ segments: Type.Array(Type.Unsafe(StoredSegment)), next: Type.Optional(Type.String()) }), example: { segments: [segmentExample] } } } },
    'GET /segments/:key': { summary: 'Read a segment', params: key, headers: ifNoneMatch, answers: { 200: segment('The segment.'), 304: unchanged }, errors: ['SEGMENT_NOT_FOUND', 'DAMAGED_DOCUMENT', 'INVALID_IF_MATCH'] },
    'PUT /segments/:key': {
      summary: 'Create or replace a segment',
      access: 'write',
      params: key,
      headers: mustMatch,
      body: { schema: Segment, examples: { 'by country': { when: segmentExample.when } } },
      answers: { 200: segment('It was replaced.'), 201: created(segment('It was created.')) },
      errors: [...replaceErrors, 'INVALID_DOCUMENT', 'IN_USE']
    },
    'DELETE /segments/:key': { summary: 'Delete a segment', access: 'write', params: key, headers: mustMatch, answers: { 204: deleted }, errors: [...replaceErrors, 'SEGMENT_NOT_FOUND', 'IN_USE'] },
    'GET /export': { summary: 'Export all flags and segments', answers: { 200: { description: 'As an import and a store\'s file take it.', schema: DocumentSet, example: { flags: { new_search: { enabled: true, serve: { percentage: 10 } } }, segments: {} } } } },
    'POST /import': {
      summary: 'Import flags and segments',
      description: 'All are checked before any is written. What is there and not named stays.',
      access: 'write',
      query: { dryRun: { description: 'Only tell what would be done.', schema: Type.Boolean() } },
      body: { schema: DocumentSet, examples: { 'a flag': { flags: { new_search: { enabled: true } } } } },
      answers: { 200: { description: 'What was done, or would be.', schema: ImportReport, example: { dryRun: false, flags: [{ key: 'new_search', action: 'create', version: 43 }], segments: [] } } },
      errors: [...writeErrors, 'INVALID_DOCUMENT', 'IN_USE', 'IMPORT_INCOMPLETE', 'DAMAGED_DOCUMENT']
    }
  }
}
