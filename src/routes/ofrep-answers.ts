import type { Outcome } from '../evaluation/details.js'
import type { FlagEntry, Snapshot } from '../evaluation/snapshot.js'
import type { Subject } from '../evaluation/subject.js'
import { sorted } from './answers.js'

// Hot: outcomes are frozen, made once and one flag's own, so each is written as JSON once, and an answer joins texts.
const fullTexts = new WeakMap<Outcome, string>()
const briefTexts = new WeakMap<Outcome, string>()

/** A flag's answer as OFREP's JSON. `brief` leaves out why: who sees what a browser is answered need not know the rules. */
export function toOfrep (key: string, outcome: Outcome, brief: boolean): string {
  const texts = brief ? briefTexts : fullTexts
  const known = texts.get(outcome)
  if (known !== undefined) return known
  const text = write(key, outcome, brief)
  if (outcome.details.reason !== 'ERROR') texts.set(outcome, text)
  return text
}

function write (key: string, { details }: Outcome, brief: boolean): string {
  const { value, reason, variant, errorMessage, flagMetadata } = details
  if (reason === 'ERROR') return JSON.stringify({ key, errorCode: 'GENERAL', errorDetails: brief ? 'The flag cannot be evaluated' : `The flag cannot be evaluated: ${errorMessage}` })
  // A value of null is not the protocol's: left out, the caller's default is meant.
  return JSON.stringify({ key, value: value ?? undefined, reason, variant, metadata: brief ? { ...flagMetadata, cause: undefined, rule: undefined } : flagMetadata })
}

/** Every flag's answer, by key, as a JSON list. `brief`: of public flags alone. */
export function listOfrep (subject: Subject, brief: boolean): string {
  const entries = brief ? publicOnes(subject.snapshot) : sorted(subject.snapshot)
  let text = '['
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (i > 0) text += ','
    text += toOfrep(entry.key, entry.evaluate(subject), brief)
  }
  return text + ']'
}

const publics = new WeakMap<Snapshot, FlagEntry[]>()

function publicOnes (snapshot: Snapshot): FlagEntry[] {
  let entries = publics.get(snapshot)
  if (entries === undefined) publics.set(snapshot, entries = sorted(snapshot).filter(({ document }) => document.public === true))
  return entries
}
