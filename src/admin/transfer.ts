import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { errors, isFlagsError, type ErrorDetail } from '../errors.js'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Flag } from '../model/flag.js'
import { pointer } from '../model/json.js'
import { membershipsOf } from '../model/layer.js'
import { namedBy, segmentsIn, type Others } from '../model/references.js'
import type { Segment } from '../model/segment.js'
import type { Replica } from '../replica.js'
import type { Kind } from '../store/store.js'
import { accept, invalidDocument, readText } from './accept.js'
import { assertVariantsKept, losesVariants } from './dependents.js'
import { lookUp } from './documents.js'
import { pace, sorted } from './page.js'

/** Flags and segments by their keys, as in `flags.json`. */
export interface DocumentSet { flags?: Record<string, Flag>, segments?: Record<string, Segment> }

/** What an import does, or on a dry run would do, with a document; `version` is the one it made. */
export interface Imported { key: string, action: 'create' | 'replace' | 'none', version?: number }
export interface ImportReport { dryRun: boolean, flags: Imported[], segments: Imported[] }

/**
 * Parts of the text of `{ "flags": { … }, "segments": { … } }`, a document a line, in the order of keys. When each was
 * created and where its rollouts stand goes with it; versions and authors belong to this store.
 */
export async function * exportText (snapshot: Snapshot): AsyncGenerator<string> {
  const rest = pace()
  const { flags, segments } = { flags: [...snapshot.flags()], segments: [...snapshot.segments()] } // of one moment
  yield '{"flags":{'
  yield * documentLines(flags, rest)
  yield '\n},"segments":{'
  yield * documentLines(segments, rest)
  yield '\n}}\n'
}

async function * documentLines (entries: Array<{ key: string, document: Flag | Segment }>, rest: () => Promise<void> | undefined): AsyncGenerator<string> {
  let separator = '\n'
  for await (const part of sorted(entries, rest)) {
    let text = ''
    for (const { key, document } of part) {
      text += `${separator}${JSON.stringify(key)}:${JSON.stringify(document)}`
      separator = ',\n'
    }
    yield text
  }
}

interface Step { kind: Kind, key: string, document: Flag | Segment, expected: number, imported: Imported }

/** Checks all, then writes all. Documents that changed meanwhile, or that the store refuses, are left and told of in IMPORT_INCOMPLETE. */
export async function importDocuments (replica: Replica, documents: DocumentSet, { dryRun, by }: { dryRun: boolean, by: string | null }): Promise<ImportReport> {
  const rest = pace()
  const { epoch } = replica
  const steps = await plan(replica, documents, rest)
  const report: ImportReport = { dryRun, flags: [], segments: [] }
  for (const { kind, imported } of steps) report[`${kind}s`].push(imported)
  if (dryRun) return report

  const failures: ErrorDetail[] = []
  let last = 0
  let begun = epoch
  const write = async ({ kind, key, document, expected, imported }: Step) => {
    try {
      const written = await replica.write({ kind, key, document: JSON.stringify(document), expected, epoch: begun, by, id: randomUUID() })
      imported.version = written.version
      last = Math.max(last, written.version)
    } catch (error) {
      failures.push({ path: pointer(`/${kind}s`, key), message: isFlagsError(error) ? error.message : String(error) })
      return isFlagsError(error) && error.code === 'FST_FLAGS_VERSION_CONFLICT'
    }
    return true
  }
  const due = (await ordered(steps, rest)).filter(({ imported: { action } }) => action !== 'none')
  for (const together of groups(due, begun === null)) {
    const goesOn = await Promise.all(together.map(write))
    if (goesOn.includes(false)) break
    if (begun !== null) continue
    // The first write of a store begins its epoch, which the following ones must name.
    await replica.sync(last)
    begun = replica.epoch
  }
  await replica.sync(last)
  if (failures.length > 0) {
    throw Object.assign(new errors.IMPORT_INCOMPLETE(due.filter(({ imported }) => imported.version !== undefined).length, due.length, failures[0]!.message), { details: failures })
  }
  return report
}

/** Every document as it is to be stored. Throws INVALID_DOCUMENT, IN_USE or NEWER_DOCUMENT. */
async function plan (replica: Replica, documents: DocumentSet, rest: () => Promise<void> | undefined): Promise<Step[]> {
  const { snapshot } = replica
  const now = replica.now()
  const details: ErrorDetail[] = []
  const given: { flag: Map<string, unknown>, segment: Map<string, unknown> } = { flag: readSet('flags', documents, details), segment: readSet('segments', documents, details) }
  for (const name of Object.keys(documents)) if (name !== 'flags' && name !== 'segments') details.push({ path: pointer('', name), message: 'is unknown; an import has flags and segments' })

  // What the others name is looked for among the imported documents first, as far as these have the form of one.
  const forms = { flag: new Map<string, Flag>(), segment: new Map<string, Segment>() }
  for (const kind of ['flag', 'segment'] as const) {
    for (const [key, document] of given[kind]) {
      await rest()
      const read = readText(kind, JSON.stringify(document) ?? 'null')
      if ('value' in read) (forms[kind] as Map<string, Flag | Segment>).set(key, read.value)
    }
  }
  const memberships = [...forms.flag].flatMap(([key, flag]) => membershipsOf(key, flag))
  const others: Others = {
    flag: (key) => forms.flag.get(key) ?? snapshot.flag(key)?.document,
    segment: (key) => forms.segment.get(key) ?? snapshot.segment(key)?.document,
    layer: (name) => [...memberships.filter(({ layer }) => layer === name), ...snapshot.layers.members(name).filter(({ flag }) => !forms.flag.has(flag))]
  }

  const steps: Step[] = []
  const changed = new Map<string, { before: Flag, after: Flag }>()
  for (const kind of ['segment', 'flag'] as const) {
    for (const [key, document] of given[kind]) {
      await rest()
      const entry = lookUp(snapshot, kind, key)
      const accepted = accept(kind, key, document, entry?.document as never, others, now, { keeping: 'restored' })
      if ('details' in accepted) {
        for (const { path, message } of accepted.details) details.push({ path: pointer(`/${kind}s`, key) + path, message })
        continue
      }
      const value: Flag | Segment = accepted.value
      const same = entry !== undefined && replica.damagedVersion(kind, key) === undefined && isDeepStrictEqual(value, entry.document)
      if (kind === 'flag' && entry !== undefined && losesVariants(entry.document as Flag, value as Flag)) changed.set(key, { before: entry.document as Flag, after: value as Flag })
      steps.push({
        kind,
        key,
        document: value,
        expected: replica.damagedVersion(kind, key) ?? entry?.provenance.version ?? 0,
        imported: { key, action: same ? 'none' : entry === undefined ? 'create' : 'replace' }
      })
    }
  }
  if (details.length > 0) throw invalidDocument('import', details)
  assertVariantsKept(changed, overlaid(snapshot, forms.flag))
  return steps
}

function readSet (name: 'flags' | 'segments', documents: DocumentSet, details: ErrorDetail[]): Map<string, unknown> {
  const set: unknown = documents[name]
  if (set === undefined) return new Map()
  if (typeof set === 'object' && set !== null && !Array.isArray(set)) return new Map(Object.entries(set))
  details.push({ path: `/${name}`, message: `must be an object of key to ${name.slice(0, -1)}, such as the export gives` })
  return new Map()
}

function * overlaid (snapshot: Snapshot, flags: ReadonlyMap<string, Flag>): Generator<{ key: string, document: Flag }> {
  for (const [key, document] of flags) yield { key, document }
  for (const entry of snapshot.flags()) if (!flags.has(entry.key)) yield entry
}

/** Each after those it names, so that no process ever meets one whose references are not there yet. */
async function ordered (steps: Step[], rest: () => Promise<void> | undefined): Promise<Step[]> {
  const byName = new Map(steps.map((step) => [`${step.kind}:${step.key}`, step]))
  const done = new Set<Step>()
  for (const first of steps) {
    await rest()
    const stack = [{ step: first, needed: needs(first) }]
    const under = new Set([first])
    while (stack.length > 0) {
      const top = stack.at(-1)!
      const next = byName.get(top.needed.pop() ?? '')
      if (next !== undefined) {
        if (!done.has(next) && !under.has(next)) {
          under.add(next)
          stack.push({ step: next, needed: needs(next) })
        }
      } else if (top.needed.length === 0) {
        done.add(top.step)
        stack.pop()
      }
    }
  }
  return [...done]
}

/** How many documents are written at once: a file is written whole for each such group, whatever it holds. */
const atOnce = 256

/** In their order, so many at once that none of a group names another of it; with `single`, the first is one by itself. */
function * groups (steps: readonly Step[], single: boolean): Generator<Step[]> {
  let group: Step[] = []
  const names = new Set<string>()
  for (const step of steps) {
    if (group.length === atOnce || (single && group.length === 1) || needs(step).some((name) => names.has(name))) {
      yield group
      single = false
      group = []
      names.clear()
    }
    group.push(step)
    names.add(`${step.kind}:${step.key}`)
  }
  if (group.length > 0) yield group
}

function needs ({ kind, document }: Step): string[] {
  if (kind === 'segment') return [...segmentsIn((document as Segment).when)].map(({ segment }) => `segment:${segment}`)
  const { flags, segments } = namedBy(document as Flag)
  return [...[...flags].map((key) => `flag:${key}`), ...[...segments].map((key) => `segment:${key}`)]
}
