import { holdoutFrom, meet, stretchesOf, type Member } from '../model/layer.js'
import { foldFor, hash, isBelow, percentageOf, Split, thresholdOf } from './bucket.js'

/**
 * The members of a layer that meet in an environment. Each unit has one slot, by a hash of the layer's name and the unit, which is
 * independent of what any flag draws, and each slot one holder at most: so no unit is ever taken twice, whatever stands in the documents.
 */
export class Layer {
  /** The attribute that names a unit: that of the first member. One that draws by another holds nothing. */
  readonly by: string | undefined
  readonly #state: number
  readonly #length: number
  /** Up to which slot each stretch goes, and who holds it; what comes after the last is the holdout. */
  readonly #ends: Float64Array
  readonly #holders: Array<string | undefined>
  /** Those who share what no range holds. */
  readonly #sharers: Split<string> | undefined
  /** The slot last asked for, and whose it is: one request asks for the same one of flag after flag. */
  #slot: number | undefined
  #holder: string | undefined

  constructor (name: string, members: readonly Member[]) {
    ({ state: this.#state, length: this.#length } = foldFor(name, 'layer'))
    const sorted = members.toSorted((a, b) => a.flag < b.flag ? -1 : 1) // the earlier key holds where ranges overlap
    this.by = sorted[0]?.by
    const holding = sorted.filter(({ by }) => by === this.by)
    const stretches = stretchesOf(holding, holdoutFrom(members))
    this.#ends = Float64Array.from(stretches, ({ to }) => thresholdOf(to))
    this.#holders = stretches.map(({ holder }) => holder)
    const sharing = holding.filter(({ range }) => range === undefined)
    if (sharing.length > 0) this.#sharers = new Split(sharing.map(({ flag }) => ({ name: flag, weight: 1, outcome: flag })))
  }

  /** The flag whose experiment a unit belongs to, if any. Hot. */
  holderOf (unit: string): string | undefined {
    const slot = this.#slotOf(unit)
    if (slot !== this.#slot) {
      this.#slot = slot
      this.#holder = this.#holderAt(slot)
    }
    return this.#holder
  }

  #holderAt (slot: number): string | undefined {
    const ends = this.#ends
    for (let i = 0; i < ends.length; i++) if (isBelow(ends[i]!, slot)) return this.#holders[i] ?? this.#sharers?.pick(slot)
    return undefined
  }

  /** Where a unit stands, in percent of the layer. */
  placeOf (unit: string): number {
    return percentageOf(this.#slotOf(unit))
  }

  isHeldOut (unit: string): boolean {
    const end = this.#ends.at(-1)
    return end === undefined || !isBelow(end, this.#slotOf(unit))
  }

  #slotOf (unit: string): number {
    return hash(this.#state, this.#length, unit)
  }
}

/** All layers of a snapshot. */
export class Layers {
  readonly #members = new Map<string, Member[]>()
  readonly #environments = new Set<string | undefined>()
  readonly #layers = new Map<string | undefined, Map<string, Layer>>()

  constructor (members: readonly Member[]) {
    for (const member of members) {
      this.#environments.add(member.environment)
      const known = this.#members.get(member.layer)
      if (known === undefined) this.#members.set(member.layer, [member])
      else known.push(member)
    }
  }

  members (layer: string): readonly Member[] {
    return this.#members.get(layer) ?? []
  }

  /** A layer as it is in an environment. Names of environments that no member has may come from callers, and are all one. */
  in (environment: string, name: string): Layer {
    const place = this.#environments.has(environment) ? environment : undefined
    let layers = this.#layers.get(place)
    if (layers === undefined) this.#layers.set(place, layers = new Map())
    let layer = layers.get(name)
    if (layer === undefined) layers.set(name, layer = new Layer(name, this.members(name).filter((member) => meet(member, { environment }))))
    return layer
  }

  /** The flags that share a layer with any of these. */
  * neighbours (flags: readonly string[]): Generator<string> {
    for (const members of this.#members.values()) {
      if (members.some(({ flag }) => flags.includes(flag))) for (const { flag } of members) yield flag
    }
  }
}
