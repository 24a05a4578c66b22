import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.js'

/** `*`, or the versions of a list's strong ETags as ours are written; a weak or foreign one names no version of ours. */
export type EntityTags = '*' | { versions: number[], weakVersions: number[] }

const tag = /[ \t]*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)/y

/** RFC 9110, 13.1: undefined without the header. Throws INVALID_IF_MATCH when it is not one. */
export function readEntityTags (header: string | undefined): EntityTags | undefined {
  if (header === undefined) return undefined
  if (header.trim() === '*') return '*'
  const tags = { versions: new Array<number>(), weakVersions: new Array<number>() }
  tag.lastIndex = 0
  while (tag.lastIndex < header.length) {
    const match = tag.exec(header)
    if (match === null) throw new errors.INVALID_IF_MATCH()
    const version = /^[1-9]\d{0,15}$/.test(match[2]!) ? Number(match[2]) : undefined
    if (version !== undefined) tags[match[1] === undefined ? 'versions' : 'weakVersions'].push(version)
  }
  if (header.length === 0 || header.trimEnd().endsWith(',')) throw new errors.INVALID_IF_MATCH()
  return tags
}

/**
 * The version that If-Match, If-None-Match or the body (`sent`) say a change applies to: `*` any that is there, 0 none, undefined not said.
 * `current` is the version now, 0 for none: with it a list of ETags is settled, and a refusal tells what to read.
 */
export function readVersion (request: FastifyRequest, what: string, current: number, sent: unknown = request.body): number | '*' | undefined {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers
  const body = versionInBody(sent)
  if (ifNoneMatch !== undefined) {
    if (readEntityTags(ifNoneMatch) !== '*') throw new errors.INVALID_REQUEST('To a change If-None-Match can only be *: create it, unless it is there. To change a version that is there send If-Match')
    return 0
  }
  const tags = readEntityTags(ifMatch)
  if (tags === undefined || tags === '*') return tags ?? body
  const version = tags.versions.includes(current) ? current : tags.versions[0]
  if (version === undefined) throw new errors.VERSION_CONFLICT(what, current, ifMatch)
  if (body !== undefined && body !== version) throw new errors.INVALID_REQUEST(`If-Match says version ${version}, and the body ${body}; send one of them, or the same`)
  return version
}

function versionInBody (body: unknown): number | undefined {
  return typeof body === 'object' && body !== null && 'version' in body && typeof body.version === 'number' ? body.version : undefined
}
