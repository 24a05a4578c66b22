import { Readable } from 'node:stream'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Admin, ChangeOptions, DocumentSet, FlagPatch, StoredFlag, StoredSegment } from '../admin.js'
import { errors, isFlagsError } from '../errors.js'
import { moves } from '../evaluation/moves.js'
import type { Flag } from '../model/flag.js'
import { Key } from '../model/key.js'
import type { Segment } from '../model/segment.js'
import { askingInBody } from './asking.js'
import { attemptsOf } from './attempts.js'
import { authorization, type AuthorizationOptions } from './authorization.js'
import { adminOperations } from './openapi/admin.js'
import { experimentOperations } from './openapi/experiments.js'
import type { Operations } from './openapi/operation.js'
import { rolloutOperations } from './openapi/rollouts.js'
import { readEntityTags, readVersion } from './preconditions.js'
import { readBoolean, readDuration, readInteger, readQuery } from './query.js'
import { readExperiment, readExperimentQuery } from './experiment.js'
import { openScope } from './scope.js'

export interface AdminOptions extends AuthorizationOptions {
  /** Where the routes stand; `/admin` when the flags plugin registers them. */
  prefix?: string
  /** Shows the routes in the app's OpenAPI. */
  openapi?: boolean
}

/** An import may hold all flags of a store; bytes. */
const importBodyLimit = 32 * 1024 * 1024

const Names = Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 1000, description: 'a text of 1 to 1000 characters' }), { description: 'a list of texts' }))
const TargetNames = Type.Optional(Type.Object({ users: Names, groups: Names, regions: Names }, { additionalProperties: false, description: 'an object such as { "users": ["user_123"], "groups": ["beta"] }' }))
const Version = Type.Optional(Type.Integer({ minimum: 1, description: 'the version that this change applies to' }))
const SwitchBody = Type.Optional(Type.Object({ version: Version }, { additionalProperties: false }))
const TargetsBody = Type.Object({ variant: Type.Optional(Key), add: TargetNames, remove: TargetNames, version: Version }, { additionalProperties: false, description: 'an object such as { "add": { "users": ["user_123"] } }' })
const MoveBody = Type.Optional(Type.Object({
  from: Type.Optional(Type.Integer({ minimum: -1, description: 'the stage that this moves on from, as GET …/rollout tells it, the first being 0' })),
  rule: Type.Optional(Type.Union([Type.String(), Type.Integer({ minimum: 0 })], { description: 'the name or the number of a rule, the first being 0' })),
  version: Version
}, { additionalProperties: false }))
const RevertBody = Type.Object({ version: Type.Integer({ minimum: 1, description: 'the version to go back to, as the history tells it' }) }, { additionalProperties: false, description: 'an object such as { "version": 42 }' })

const operations: Operations = {
  ...adminOperations,
  schemas: { ...adminOperations.schemas, ...rolloutOperations.schemas, ...experimentOperations.schemas },
  routes: { ...adminOperations.routes, ...rolloutOperations.routes, ...experimentOperations.routes }
}

interface Of { Params: { key: string, environment?: string } }

/** Changes flags and segments over HTTP. An encapsulated plugin; it needs the flags plugin around it. */
export const adminRoutes: FastifyPluginAsync<AdminOptions> = async (app, { prefix, openapi, ...who }) => {
  if (!app.hasDecorator('flags')) throw new errors.INVALID_OPTION('adminRoutes needs fastify-flags in the same scope, before it: await app.register(flags)')
  const { require, actorOf } = authorization(who, attemptsOf(app))
  const { admin } = app.flags
  const scope = openScope(app, { prefix, keyed: ['/flags', '/segments'], visible: openapi, operations })
  // A parameter that is not heeded is refused: PUT ?dryRun=true would otherwise write.
  const withoutQuery = async (request: FastifyRequest) => { readQuery(request, []) }
  const read = { onRequest: [require('read'), withoutQuery] }
  const write = { onRequest: [require('write'), withoutQuery] }
  const readQueried = { onRequest: require('read') }
  const change = (request: FastifyRequest, version?: number | '*'): ChangeOptions => ({ version, by: actorOf(request) })

  scope.get('/flags', readQueried, async (request) => {
    const { limit, stale, ...filter } = readQuery(request, ['tag', 'owner', 'q', 'stale', 'limit', 'after'])
    return admin.list({ ...filter, stale: readDuration('stale', stale), limit: readLimit(limit) })
  })
  scope.get<Of>('/flags/:key', read, async (request, reply) => show(request, reply, admin.get(request.params.key)))
  scope.put<Of>('/flags/:key', write, async (request, reply) => {
    const { key } = request.params
    const { flag, created } = await replace(request, `The flag ${key}`, versionOf(() => admin.get(key)), (version) => admin.put(key, request.body as Flag, change(request, version)))
    return stored(request, reply, flag, created)
  })
  scope.patch<Of>('/flags/:key', write, async (request, reply) => {
    const { key } = request.params
    return stored(request, reply, await admin.patch(key, request.body as FlagPatch, change(request, versionSent(request, admin, key))))
  })
  scope.delete<Of>('/flags/:key', write, async (request, reply) => {
    const { key } = request.params
    await replace(request, `The flag ${key}`, versionOf(() => admin.get(key)), (version) => admin.delete(key, change(request, version)))
    return reply.code(204).send()
  })

  for (const at of ['/flags/:key', '/flags/:key/environments/:environment']) {
    for (const action of ['enable', 'disable'] as const) {
      scope.post<Of>(`${at}/${action}`, { ...write, schema: { body: SwitchBody } }, async (request, reply) => {
        const { key, environment } = request.params
        return stored(request, reply, await admin[action](key, { environment, ...change(request, versionSent(request, admin, key)) }))
      })
    }
    scope.post(`${at}/targets`, { ...write, schema: { body: TargetsBody } }, async (request, reply) => {
      const { key, environment } = request.params as Of['Params']
      const { version, ...targets } = request.body
      if (targets.add === undefined && targets.remove === undefined) throw new errors.INVALID_REQUEST('Say whom to add or to remove, such as { "add": { "users": ["user_123"] } }')
      return stored(request, reply, await admin.changeTargets(key, { environment, ...targets }, change(request, versionSent(request, admin, key))))
    })
    scope.get<Of>(`${at}/experiment`, readQueried, async (request) => {
      const { key, environment = app.flags.environment } = request.params
      return await readExperiment(app.flags, key, environment, readExperimentQuery(request))
    })
    scope.get<Of>(`${at}/rollout`, readQueried, async (request) => {
      const { key, environment } = request.params
      return await admin.rollout(key, { environment, ...readQuery(request, ['rule']) })
    })
    for (const move of moves) {
      scope.post(`${at}/rollout/${move}`, { ...write, schema: { body: MoveBody } }, async (request, reply) => {
        const { key, environment } = request.params as Of['Params']
        const { from, rule } = request.body ?? {}
        return stored(request, reply, await admin[move](key, { environment, from, rule, ...change(request, versionSent(request, admin, key)) }))
      })
    }
  }
  scope.post('/flags/:key/revert', { ...write, schema: { body: RevertBody } }, async (request, reply) => {
    const { key } = request.params as Of['Params']
    const { version: to } = request.body
    const flag = await replace(request, `The flag ${key}`, versionOf(() => admin.get(key)), (version) => admin.revert(key, to, change(request, version)), null)
    return stored(request, reply, flag)
  })

  scope.post<Of>('/flags/:key/explain', read, async (request) => {
    const asking = askingInBody(request.body)
    return admin.explain(request.params.key, asking?.context ?? {}, asking?.environment)
  })
  scope.get<Of>('/flags/:key/history', readQueried, async (request) => {
    const { before, limit } = readQuery(request, ['before', 'limit'])
    return await admin.history(request.params.key, { before: readRevision('before', before), limit: readLimit(limit) })
  })
  scope.get('/changes', readQueried, async (request) => {
    const { before, after, limit } = readQuery(request, ['before', 'after', 'limit'])
    if (before !== undefined && after !== undefined) throw new errors.INVALID_REQUEST('Send before, for what is older, or after, for what is newer')
    return await admin.changes({ before: readRevision('before', before), after: readRevision('after', after), limit: readLimit(limit) })
  })

  scope.get('/segments', readQueried, async (request) => {
    const { after, limit } = readQuery(request, ['limit', 'after'])
    return admin.listSegments({ after, limit: readLimit(limit) })
  })
  scope.get<Of>('/segments/:key', read, async (request, reply) => show(request, reply, admin.getSegment(request.params.key)))
  scope.put<Of>('/segments/:key', write, async (request, reply) => {
    const { key } = request.params
    const { segment, created } = await replace(request, `The segment ${key}`, versionOf(() => admin.getSegment(key)), (version) => admin.putSegment(key, request.body as Segment, change(request, version)))
    return stored(request, reply, segment, created)
  })
  scope.delete<Of>('/segments/:key', write, async (request, reply) => {
    const { key } = request.params
    await replace(request, `The segment ${key}`, versionOf(() => admin.getSegment(key)), (version) => admin.deleteSegment(key, change(request, version)))
    return reply.code(204).send()
  })

  scope.get('/export', read, async (request, reply) => {
    reply.type('application/json; charset=utf-8')
    return Readable.from(admin.exportText())
  })
  scope.post('/import', { onRequest: require('write'), bodyLimit: importBodyLimit }, async (request) => {
    const { dryRun } = readQuery(request, ['dryRun'])
    if (typeof request.body !== 'object' || request.body === null || Array.isArray(request.body)) throw new errors.INVALID_REQUEST('Send what GET /export gives: { "flags": { … }, "segments": { … } }')
    return await admin.import(request.body as DocumentSet, { dryRun: readBoolean('dryRun', dryRun), by: actorOf(request) })
  })
}

function readLimit (text: string | undefined): number | undefined {
  return text === undefined ? undefined : readInteger('limit', text, { minimum: 1, maximum: 1000 })
}

function readRevision (name: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : readInteger(name, text, { minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
}

function versionOf (get: () => { version: number }): number {
  try {
    return get().version
  } catch {
    return 0
  }
}

/** The version that a change of what is there was sent for, if any. */
function versionSent (request: FastifyRequest, admin: Admin, key: string): number | '*' | undefined {
  return readVersion(request, `The flag ${key}`, versionOf(() => admin.get(key)))
}

/** A change that must say which version it replaces: one that does not may only create, else it is told to say so. `body` may say it, unless null. */
async function replace<T> (request: FastifyRequest, what: string, current: number, apply: (version: number | '*') => Promise<T>, body: unknown = request.body): Promise<T> {
  const version = readVersion(request, what, current, body)
  try {
    return await apply(version ?? 0)
  } catch (error) {
    if (version === undefined && isFlagsError(error) && error.code === 'FST_FLAGS_VERSION_CONFLICT') throw new errors.VERSION_REQUIRED(what)
    throw error
  }
}

function show (request: FastifyRequest, reply: FastifyReply, document: StoredFlag | StoredSegment) {
  const tags = readEntityTags(request.headers['if-none-match'])
  reply.header('etag', `"${document.version}"`).header('cache-control', 'private, no-cache')
  const known = tags === '*' || tags?.versions.includes(document.version) === true || tags?.weakVersions.includes(document.version) === true
  return known ? reply.code(304).send() : document
}

function stored (request: FastifyRequest, reply: FastifyReply, document: StoredFlag | StoredSegment, created = false) {
  reply.header('etag', `"${document.version}"`)
  if (created) reply.code(201).header('location', request.raw.url!.split('?')[0])
  return document
}
