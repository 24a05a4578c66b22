import type { Outcome } from '../evaluation/details.js'
import type { FlagEntry } from '../evaluation/snapshot.js'
import type { Subject } from '../evaluation/subject.js'

// Hot: outcomes are frozen and made once, so each is written as JSON once, and answering joins two texts.
const written = new WeakMap<Outcome, { full: string, brief: string }>()

/** A flag's answer for a subject, as JSON. `brief` leaves out why: who sees a browser's answers need not know the rules. */
export function answer (entry: FlagEntry, subject: Subject, brief: boolean): string {
  const outcome = entry.evaluator(subject.environment)(subject)
  let texts = written.get(outcome)
  if (texts === undefined) {
    texts = write(outcome)
    written.set(outcome, texts)
  }
  return `{"key":"${entry.key}",${brief ? texts.brief : texts.full}` // a key needs no escaping
}

function write ({ enabled, details }: Outcome): { full: string, brief: string } {
  const { value, variant, reason, errorCode, errorMessage, flagMetadata: { cause, rule, environment, version } } = details
  const common = { enabled: enabled ?? false, value: value ?? null, variant, reason, errorCode, errorMessage }
  return {
    full: JSON.stringify({ ...common, cause, rule, environment, version }).slice(1),
    brief: JSON.stringify({ ...common, environment, version }).slice(1)
  }
}
