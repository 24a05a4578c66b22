import type { When } from './condition.js'
import type { Environment, Flag } from './flag.js'
import { pointer } from './json.js'
import type { Member } from './layer.js'
import type { Segment } from './segment.js'

/** The other documents that a document may name. */
export interface Others {
  flag (key: string): Flag | undefined
  segment (key: string): Segment | undefined
  /** The members of a layer, the document's own memberships so far among them. */
  layer (name: string): Iterable<Member>
}

/** Every segment that a `when` names, with its place in it. Parts that this version does not understand name none. */
export function * segmentsIn (when: When, path = ''): Generator<{ segment: string, path: string }> {
  if (typeof when !== 'object' || when === null) return
  if ('segment' in when && typeof when.segment === 'string') yield { segment: when.segment, path: pointer(path, 'segment') }
  if ('not' in when) yield * segmentsIn(when.not, pointer(path, 'not'))
  for (const name of ['all', 'any'] as const) {
    const list = (when as Partial<Record<typeof name, When[]>>)[name]
    if (Array.isArray(list)) for (let i = 0; i < list.length; i++) yield * segmentsIn(list[i]!, pointer(pointer(path, name), i))
  }
}

/** What decides in each environment, with its place in the flag; a flag without environments has one, at its top. */
export function * settingsOf (flag: Flag): Generator<{ environment: string | undefined, settings: Environment, path: string }> {
  if (flag.environments === undefined) return yield { environment: undefined, settings: flag, path: '' }
  for (const [environment, settings] of Object.entries(flag.environments)) yield { environment, settings, path: pointer('/environments', environment) }
}

/** Every key that a flag names: what must not be removed while the flag is there. */
export function namedBy (flag: Flag): { flags: Set<string>, segments: Set<string> } {
  const flags = new Set<string>()
  const segments = new Set<string>()
  for (const { settings } of settingsOf(flag)) {
    for (const { flag } of settings.prerequisites ?? []) flags.add(flag)
    for (const { when } of settings.rules ?? []) for (const { segment } of segmentsIn(when)) segments.add(segment)
  }
  return { flags, segments }
}

/**
 * The way from a flag's prerequisite back to the flag, its key at both ends, or undefined when there is none. Only ways
 * within one environment count (undefined: any), for only there would the flag wait for itself.
 */
export function prerequisiteCycle (key: string, prerequisite: string, environment: string | undefined, others: Others): string[] | undefined {
  interface Place { key: string, environment: string | undefined }
  return wayBack<Place>({ key: prerequisite, environment }, key, function * (place) {
    const flag = others.flag(place.key)
    if (flag === undefined) return
    for (const { environment, settings } of settingsOf(flag)) {
      if (environment !== undefined && place.environment !== undefined && environment !== place.environment) continue
      for (const { flag } of settings.prerequisites ?? []) yield { key: flag, environment: environment ?? place.environment }
    }
  })
}

/** The way from a segment that a segment names back to it, its key at both ends, or undefined when there is none. */
export function segmentCycle (key: string, named: string, others: Others): string[] | undefined {
  return wayBack({ key: named }, key, function * (place) {
    const segment = others.segment(place.key)
    if (segment !== undefined) for (const { segment: next } of segmentsIn(segment.when)) yield { key: next }
  })
}

/** A way for a sentence; of a long one the ends. */
export function drawn (way: string[]): string {
  return (way.length > 10 ? [...way.slice(0, 5), '…', ...way.slice(-4)] : way).join(' → ')
}

/** Breadth first and without recursion: a chain may be as long as there are documents. */
function wayBack<Place extends { key: string, environment?: string | undefined }> (start: Place, key: string, next: (place: Place) => Iterable<Place>): string[] | undefined {
  const steps: Array<{ place: Place, from: number }> = [{ place: start, from: -1 }]
  const seen = new Set<string>()
  for (let i = 0; i < steps.length; i++) {
    const { place } = steps[i]!
    if (place.key === key) {
      const way: string[] = []
      for (let step = i; step !== -1; step = steps[step]!.from) way.push(steps[step]!.place.key)
      return [key, ...way.reverse()]
    }
    const id = `${place.environment ?? ''} ${place.key}` // keys hold no blank
    if (seen.has(id)) continue
    seen.add(id)
    for (const further of next(place)) steps.push({ place: further, from: i })
  }
  return undefined
}
