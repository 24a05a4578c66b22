import type { Outcome } from '../../evaluation/details.js'
import type { Snapshot } from '../../evaluation/snapshot.js'
import { variantsOf } from '../../model/meaning.js'
import { metricText } from './text.js'

/** So many series at most; what comes beyond is counted as `_other`, which no flag can be called. */
const mostSeries = 2000

interface Series { readonly labels: string, readonly variant: string, count: number }

/** How often which flag gave which variant for which reason: of flags that there are, and no more series than a bound. */
export class EvaluationCounts {
  readonly #flags = new Map<string, Series[]>()
  readonly #others = new Map<string, Series>()
  /** Hot: an outcome is made once, and found again without a look at its key. */
  readonly #known = new WeakMap<Outcome, Series>()
  #size = 0

  readonly count = (key: string, outcome: Outcome): void => {
    const series = this.#known.get(outcome) ?? this.#find(key, outcome)
    series.count++
  }

  /** Drops the series of flags and variants that are gone. */
  settle (keys: Iterable<string>, snapshot: Snapshot): void {
    for (const key of keys) {
      const all = this.#flags.get(key)
      if (all === undefined) continue
      const flag = snapshot.flag(key)?.document
      const variants = flag && variantsOf(flag)
      const kept = variants === undefined ? [] : all.filter(({ variant }) => variant === '' || variants.has(variant))
      this.#size -= all.length - kept.length
      if (kept.length === 0) this.#flags.delete(key)
      else this.#flags.set(key, kept)
    }
  }

  text (): string {
    return metricText('fastify_flags_evaluations_total', 'counter', 'Single evaluations by flag, variant and reason; lists of all flags count none.', this.#samples())
  }

  * #samples (): Generator<[string, number]> {
    for (const all of this.#flags.values()) for (const { labels, count } of all) yield [labels, count]
    for (const { labels, count } of this.#others.values()) yield [labels, count]
  }

  #find (key: string, outcome: Outcome): Series {
    const { variant = '', reason } = outcome.details
    const labels = `flag="${key}",variant="${variant}",reason="${reason}"`
    const all = this.#flags.get(key) ?? []
    let series = all.find((one) => one.labels === labels)
    if (series === undefined && this.#size < mostSeries) {
      series = { labels, variant, count: 0 }
      this.#flags.set(key, [...all, series])
      this.#size++
    }
    series ??= this.#other(reason)
    this.#known.set(outcome, series)
    return series
  }

  #other (reason: string): Series {
    let series = this.#others.get(reason)
    if (series === undefined) this.#others.set(reason, series = { labels: `flag="_other",variant="_other",reason="${reason}"`, variant: '', count: 0 })
    return series
  }
}
