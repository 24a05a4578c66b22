import { disabledBy, drawOf, isSwitchedOn, variantMeant } from '../model/meaning.js'
import type { JsonValue } from '../model/json.js'
import { entryOf, firstEntries, lowestEntryOf, none } from './attributes.js'
import { targetCauses } from './compile.js'
import type { Outcome, ResolutionDetails } from './details.js'
import { begin, TooMuch } from './effort.js'
import { explainDraw, type ExplainedDraw } from './explain-draw.js'
import { explainWhen, jsonOf, type ExplainedWhen } from './explain-when.js'
import { placeOfRule, placeOfServe, planOf, ruleName, type Plan } from './plan.js'
import { answerOf, isMet } from './prerequisites.js'
import type { FlagEntry } from './snapshot.js'
import type { Subject } from './subject.js'

/** How a flag came to its answer, as JSON can carry it: the lines of the order of decision that were asked, the last one having answered. */
export interface Explanation {
  key: string
  environment: string
  /** The time by the store's clock, ISO. */
  now: string
  steps: Step[]
  /** What `getDetails` gives, and what `isEnabled` says; `enabled` is left out where the flag cannot be evaluated. */
  resolution: ResolutionDetails & { enabled?: boolean }
}

/** One line of the order of decision; `answers` where it decided. */
export type Step = { answers: boolean, why?: string } & (
  /** `environments` are those that the flag has, left out where it answers for every one. */
  | { check: 'enabled', flag: boolean, environment?: boolean, environments?: string[] }
  /** `answer` is null when there is none to count on. */
  | { check: 'prerequisite', flag: string, variant: string, met: boolean, answer: { variant?: string, reason: string, cause?: string } | null }
  /** `entry` is the index of the target, null when none names what was asked for. */
  | { check: 'target-user' | 'target-group' | 'target-region', actual: JsonValue, entry: number | null, variant?: string }
  | { check: 'rule', rule: string, index: number, matched: boolean, when: ExplainedWhen, serve?: ExplainedDraw }
  | { check: 'serve', serve: ExplainedDraw }
  | { check: 'failure' })

export function explain (entry: FlagEntry, subject: Subject): Explanation {
  const { key, document, provenance } = entry
  const { environment } = subject
  const steps: Step[] = []
  let outcome = entry.evaluate(subject)
  if (outcome.details.errorCode === undefined) {
    begin(10) // every part is judged, also where the first ones decide
    try {
      outcome = decide(planOf(key, document, provenance, environment), subject, steps)
    } catch (error) {
      if (!(error instanceof TooMuch)) throw error
      steps.push({ check: 'failure', answers: true, why: 'the context is too large to be explained; what it answers is right' })
    }
  } else steps.push({ check: 'failure', answers: true, why: outcome.details.errorMessage })
  return { key, environment, now: new Date(subject.now).toISOString(), steps, resolution: { ...outcome.details, enabled: outcome.enabled } }
}

/** The order of decision, once more, step by step. */
function decide (plan: Plan, subject: Subject, steps: Step[]): Outcome {
  for (const line of [enabled, prerequisites, ...targets, rules]) {
    const outcome = line(plan, subject, steps)
    if (outcome !== undefined) return outcome
  }
  const { explained, outcome } = explainDraw(drawOf(plan.flag, plan.settings.serve), placeOfServe(plan), subject)
  steps.push({ check: 'serve', answers: true, serve: explained })
  return outcome
}

type Line = (plan: Plan, subject: Subject, steps: Step[]) => Outcome | undefined

const disabledWhy = {
  'flag-disabled': 'the flag is not enabled',
  'environment-missing': 'the flag does not have this environment',
  'environment-disabled': 'the flag is not enabled in this environment'
}

const enabled: Line = ({ flag, settings, off, answersBy }, { environment }, steps) => {
  const disabled = disabledBy(flag, environment)
  steps.push({
    check: 'enabled',
    answers: disabled !== undefined,
    ...(disabled !== undefined && { why: disabledWhy[disabled] }),
    flag: isSwitchedOn(flag),
    ...(flag.environments !== undefined && { environment: settings.enabled === true, environments: Object.keys(flag.environments) })
  })
  return disabled && answersBy()(off, 'DISABLED', disabled)
}

const prerequisites: Line = ({ settings, off, answersBy }, subject, steps) => {
  for (const { flag, variant = 'on' } of settings.prerequisites ?? []) {
    const answer = answerOf(flag, subject)
    const met = isMet(answer, variant)
    steps.push({
      check: 'prerequisite',
      answers: !met,
      ...(!met && { why: whyNotMet(flag, answer, subject) }),
      flag,
      variant,
      met,
      answer: answer === undefined ? null : { variant: answer.variant, reason: answer.reason, cause: answer.flagMetadata.cause }
    })
    if (!met) return answersBy()(off, 'DISABLED', 'prerequisite-failed')
  }
}

function whyNotMet (flag: string, answer: ResolutionDetails | undefined, { snapshot }: Subject): string {
  if (snapshot.flag(flag) === undefined) return 'there is no such flag'
  if (answer === undefined) return 'its own prerequisites are missing, or lead back to it'
  return answer.reason === 'DISABLED' ? 'it is disabled' : answer.reason === 'ERROR' ? 'it cannot be evaluated' : 'it serves another variant'
}

const asked = { users: 'targetingKey', groups: 'groups', regions: 'region' } as const

const targets = (['users', 'groups', 'regions'] as const).map((kind): Line => ({ flag, settings, answersBy }, { context }, steps) => {
  const targets = settings.targets ?? []
  const entries = firstEntries(targets.map((target) => target[kind]))
  if (entries.size === 0) return
  const actual: unknown = context[asked[kind]]
  const entry = kind === 'users' ? entryOf(entries, actual) : lowestEntryOf(entries, actual)
  const cause = targetCauses[kind]
  if (entry === none) {
    steps.push({ check: cause, answers: false, actual: jsonOf(actual) ?? null, entry: null })
    return
  }
  const variant = variantMeant(flag, targets[entry]!.variant)
  steps.push({ check: cause, answers: true, actual: jsonOf(actual) ?? null, entry, variant })
  return answersBy()(variant, 'TARGETING_MATCH', cause)
})

const rules: Line = (plan, subject, steps) => {
  for (const [index, { when, serve }] of (plan.settings.rules ?? []).entries()) {
    const explained = explainWhen(when, subject.context, subject.snapshot)
    const step = { check: 'rule', rule: ruleName(plan, index), index, when: explained } as const
    if (explained.matched !== true) {
      steps.push({ ...step, answers: false, ...(explained.matched === null && { why: 'it holds what this version cannot evaluate, and so does not match as a whole' }), matched: false })
      continue
    }
    const draw = explainDraw(drawOf(plan.flag, serve), placeOfRule(plan, index), subject)
    steps.push({ ...step, answers: true, matched: true, serve: draw.explained })
    return draw.outcome
  }
}
