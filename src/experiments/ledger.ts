import { hash } from 'node:crypto'
import type { Experiment } from '../model/experiment.js'
import type { Counts } from './counts.js'

/** A unit was exposed to a variant. `time` is epoch milliseconds by the store's clock. */
export interface Exposure {
  unit: string
  variant: string
  time: number
  /** Of exposures that may be reported twice: an id that was seen within the last hour adds nothing to `exposures`. Without one, `reads` counts them. */
  id?: string
}

/** A unit reached a goal. */
export interface Conversion {
  unit: string
  goal: string
  /** From 0 to `mostValue`; 0 where the goal has no value. */
  value: number
  time: number
}

/** What a process has seen of one experiment. */
export interface Batch {
  /** The same when the same batch is sent again. */
  id: string
  experiment: Experiment
  /** When it was made; epoch milliseconds by the store's clock. */
  time: number
  exposures: Exposure[]
  conversions: Conversion[]
  /** By variant, how often it was read. */
  reads: Record<string, number>
}

/** Numbers to be added to those that are kept under a name. */
export interface Addition {
  /** The same when the same is sent again. */
  id: string
  of: string
  numbers: Sums
  /** Epoch milliseconds by the store's clock. */
  time: number
}

export type Sums = Readonly<Record<string, number>>

/** Ids of something that may be reported again, all different. `of`, `id` and `time` as above. */
export interface Claim { id: string, of: string, ids: readonly string[], time: number }

/** UTC days such as `2026-11-20`, both included; left out, from the first and to the last. */
export interface Range { from?: string, to?: string }

/**
 * Where experiments are counted, for all processes that share a store. It keeps no text that names a unit: units are hashed
 * with a salt of the experiment's own.
 */
export interface Ledger {
  /**
   * Counts a batch as a whole or not at all, and once though it comes again within an hour. Of each unit the first exposure
   * counts; another variant later makes it a unit that switched. Of each unit and goal the first conversion counts, if it
   * comes no earlier than the exposure; of a batch all exposures come first. Rejects when nothing is known to be counted.
   */
  record (batch: Batch): Promise<void>
  read (experiment: Experiment, range?: Range): Promise<Counts>
  /** Adds numbers as a whole or not at all, and once though they come again within an hour. Resolves to what is kept then. Rejects when nothing is known to be added. */
  add (addition: Addition): Promise<Sums>
  /** What was added under a name. */
  sums (of: string): Promise<Sums>
  /** Resolves to those ids that no other claim has had, as far as that is known: for an hour at least. The same claim is answered the same again. */
  claim (claim: Claim): Promise<Set<string>>
  /** How long conversions should wait before they are recorded, so that exposures that other processes saw come first; milliseconds. */
  readonly settlesAfter: number
  close (): Promise<void>
}

/** Goals of an experiment; conversions to further ones are counted as ignored. */
export const mostGoals = 50
/** The characters of a goal's name. */
export const longestGoal = 100
/** A conversion's value is at most this. */
export const mostValue = 1e12
/** Milliseconds for which ids of batches and events are known. */
export const knownFor = 3_600_000
/** Milliseconds after which a unit, or sums, of which nothing more was heard are forgotten. */
export const unitsKeptFor = 90 * 86_400_000
export const dayLength = 86_400_000

/** 64 bits that stand for a unit, or for the id of an event. */
export function hashOf (salt: string, text: string): Buffer {
  return hash('sha256', salt + text, 'buffer').subarray(0, 8)
}

export function dayOf (time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

export function isDay (text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)) && dayOf(Date.parse(text)) === text
}

/** Whether a unit exposed on this day belongs to the range. */
export function isWithin (day: string, { from = '', to = '9999-12-31' }: Range): boolean {
  return day >= from && day <= to
}
