import type { ErrorDetail } from '../errors.js'
import type { Condition, When } from './condition.js'
import { jsonTypeOf, pointer } from './json.js'
import { faultsOfCondition, type Effort } from './operators.js'
import type { Others } from './references.js'

/** Whether nothing is wrong at a place, in it or around it, so that it can be looked into. */
export type Sound = (path: string) => boolean

/** What a document is checked against. */
export interface Surroundings {
  others: Others
  /** Parts of the wrong form are passed over: they are reported already. */
  sound: Sound
  /** What the document's patterns may still cost. */
  effort: Effort
}

/** How many levels of `all`, `any` and `not` a `when` may have, the condition at the end counted. */
const maxLevels = 16

/** What the schema cannot say of a `when`: how deep it is, whether its segments exist, whether its values can be read. */
export function * checkWhen (when: unknown, path: string, around: Surroundings, level = 1): Generator<ErrorDetail> {
  if (jsonTypeOf(when) !== 'object') return
  if (level > maxLevels) {
    yield { path, message: `is more than ${maxLevels} levels deep; move a part into a segment and name that` }
    return
  }
  const node = when as Partial<{ all: When[], any: When[], not: When, segment: string } & Condition>
  for (const name of ['all', 'any'] as const) {
    const list = node[name]
    if (Array.isArray(list)) for (let i = 0; i < list.length; i++) yield * checkWhen(list[i], pointer(pointer(path, name), i), around, level + 1)
  }
  if (node.not !== undefined) yield * checkWhen(node.not, pointer(path, 'not'), around, level + 1)
  if (node.segment !== undefined && around.sound(`${path}/segment`) && around.others.segment(node.segment) === undefined) {
    yield { path: `${path}/segment`, message: `names a segment "${node.segment}" that is not there; create it first` }
  }
  if (node.attribute !== undefined && around.sound(path)) {
    for (const fault of faultsOfCondition(node as Condition, around.effort)) yield { path: path + fault.path, message: fault.message }
  }
}
