import type { Outcome } from '../../evaluation/details.js'
import type { FlagEntry, Snapshot } from '../../evaluation/snapshot.js'
import type { Subject } from '../../evaluation/subject.js'
import { sorted } from '../answers.js'

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

// Of each, what stands in a list: a comma and the answer, its UTF-8 bytes as one character each, so that writing them is copying.
const fullPieces = new WeakMap<Outcome, string>()
const briefPieces = new WeakMap<Outcome, string>()

/** Every flag's answer, by key, and what else `rest` says: `{"flags":[…],…}`. `brief`: of public flags alone. */
export function listOfrep (subject: Subject, brief: boolean, rest: string): Buffer {
  const known = brief ? briefPieces : fullPieces
  const entries = brief ? publicOnes(subject.snapshot) : sorted(subject.snapshot)
  const pieces = new Array<string>(entries.length)
  let length = 0
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    const outcome = entry.evaluate(subject)
    const piece = known.get(outcome) ?? pieceOf(entry.key, outcome, brief, known)
    pieces[i] = piece
    length += piece.length
  }
  const [head, tail] = ['{"flags":', entries.length === 0 ? `[]${rest}}` : `]${rest}}`]
  const bytes = Buffer.allocUnsafe(head.length + length + Buffer.byteLength(tail))
  let at = bytes.write(head, 'latin1')
  if (entries.length > 0) {
    for (let i = 0; i < pieces.length; i++) at += bytes.write(pieces[i]!, at, 'latin1')
    bytes.write('[', head.length) // in place of the first comma
  }
  bytes.write(tail, at)
  return bytes
}

function pieceOf (key: string, outcome: Outcome, brief: boolean, known: WeakMap<Outcome, string>): string {
  const piece = Buffer.from(`,${toOfrep(key, outcome, brief)}`).toString('latin1')
  if (outcome.details.reason !== 'ERROR') known.set(outcome, piece)
  return piece
}

const publics = new WeakMap<Snapshot, FlagEntry[]>()

function publicOnes (snapshot: Snapshot): FlagEntry[] {
  let entries = publics.get(snapshot)
  if (entries === undefined) publics.set(snapshot, entries = sorted(snapshot).filter((entry) => entry.public))
  return entries
}
