import type { ErrorDetail } from '../errors.js'
import type { Environment } from './flag.js'
import { holdoutFrom, meet, memberOf, stretchesOf, type Member, type Stretch } from './layer.js'
import type { Subject } from './variant-check.js'

/** How many holders a sentence tells. */
const told = 10

/** What the schema cannot say of an experiment's place in a layer: no two experiments may hold the same units. */
export function * checkLayer ({ key, flag, others, sound }: Subject, settings: Environment, path: string, environment: string | undefined): Generator<ErrorDetail> {
  const { layer, range, holdout } = settings.experiment ?? {}
  const place = `${path}/experiment`
  if (layer === undefined) {
    for (const [field, value] of Object.entries({ range, holdout })) {
      if (value !== undefined) yield { path: `${place}/${field}`, message: 'is a part of a layer: name that beside it, such as "layer": "checkout"' }
    }
    return
  }
  const [from = 0, to = 100] = range ?? []
  if (from >= to) return yield { path: `${place}/range`, message: 'must end after it begins: from and to in percent, such as [0, 50]' }
  if (!['/variants', '/offVariant', `${path}/serve`].every(sound)) return
  const own = memberOf(key, flag, environment, settings)
  if (own === undefined) return // it draws nothing, and so takes nobody

  const members = [...others.layer(layer)].filter((member) => member.flag !== key && meet(member, own))
  const stranger = members.find(({ by }) => by !== own.by)
  if (stranger !== undefined) {
    const { flag, by } = stranger
    return yield { path: `${path}/serve/by`, message: `must be ${by === 'targetingKey' ? 'left out' : `"${by}"`}, as in "${flag}": the experiments of the layer "${layer}" share the same units, so all draw by the same attribute` }
  }
  const around = [...members, { ...own, range: undefined }]
  const standing = standingIn(layer, around)
  const end = holdoutFrom([own])
  if (members.some(({ range }) => range !== undefined && range[1]! > end)) {
    return yield { path: `${place}/holdout`, message: `must leave the others what they hold: ${standing}` }
  }
  if (range !== undefined && !freeIn(around).some((stretch) => stretch.from <= from && to <= stretch.to)) {
    return yield { path: `${place}/range`, message: `must be free, as ${shown(from, to)} is not: ${standing}` }
  }
  // Beside a flag without environments, what others hold in some is no loss in the rest.
  const always = members.filter((member) => environment !== undefined || member.environment === undefined)
  if (freeIn([own, ...always]).length > 0) return
  const rangeless = always.find(({ range }) => range === undefined)
  if (range === undefined) yield { path: `${place}/layer`, message: `must have a part that is free: ${standing}` }
  else if (rangeless !== undefined) yield { path: `${place}/range`, message: `must leave something to "${rangeless.flag}", which has no range of its own: ${standing}` }
}

function freeIn (members: readonly Member[]): Stretch[] {
  return stretchesOf(members).filter(({ holder }) => holder === undefined)
}

/** Who holds what of a layer, and what is free. */
function standingIn (layer: string, members: readonly Member[]): string {
  const end = holdoutFrom(members)
  const held = members.flatMap(({ flag, range }) => range === undefined ? [] : [`"${flag}" holds ${shown(range[0]!, range[1]!)}`])
  const parts = held.slice(0, told)
  if (held.length > told) parts.push(`${held.length - told} more hold theirs`)
  if (end < 100) parts.push(`the holdout is ${shown(end, 100)}`)
  const free = freeIn(members).map(({ from, to }) => shown(from, to))
  parts.push(`free is ${free.slice(0, told).join(' and ') || 'nothing'}`)
  return `of the layer "${layer}" ${parts.join(', ')}`
}

function shown (from: number, to: number): string {
  return `[${from}, ${to}]`
}
