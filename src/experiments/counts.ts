/** What a goal came to among the units of a variant. Each unit counts once, with the value of its first conversion (0 where it had none). */
export interface GoalCounts {
  /** Units that reached the goal after they were exposed. */
  conversions: number
  /** Of the values of these conversions. */
  sum: number
  /** Of their squares. */
  squares: number
}

export interface VariantCounts {
  /** Different units first exposed to this variant. */
  units: number
  /** How often the variant was read; units that return count again. */
  exposures: number
  /** Of the units, those that were later exposed to another variant; they stay with their first. */
  switched: number
  goals: Record<string, GoalCounts>
}

/** One UTC day of a variant. A unit counts on the day of its first exposure only, so units of different days are different units. */
export interface DayCounts {
  units: number
  exposures: number
  /** By goal: units whose first conversion came on this day, whenever they were exposed. */
  conversions: Record<string, number>
}

/** What a ledger knows of an experiment. Every variant is there, also those that nobody was exposed to. */
export interface Counts {
  /** The units are those first exposed from `from` to `to`, both days included; their conversions count whenever they came. */
  variants: Record<string, VariantCounts>
  /** Days on which something was counted, in order: `2026-11-20` → variant → counts. */
  days: Array<{ day: string, variants: Record<string, DayCounts> }>
  /** What share of the units each variant should have had, summing to 1; null where the shares were changed meanwhile, or rise by stages. */
  shares: Record<string, number> | null
  /** When the first of it was recorded; epoch milliseconds, null when nothing was. */
  since: number | null
  /** Conversions that were not counted: their unit had not been exposed, or there were more goals than an experiment has. */
  ignored: { unexposed: number, goals: number }
}
