import type { Flag } from '../model/flag.js'
import { disabledBy, drawOf, variantMeant } from '../model/meaning.js'
import { entryOf, firstEntries, lowestEntryOf, none } from './attributes.js'
import { compileWhen, type CompiledWhen } from './conditions.js'
import type { Outcome, ResolutionDetails } from './details.js'
import { compileDraw, give, type Served } from './draw.js'
import { placeOfRule, placeOfServe, planOf, type Plan } from './plan.js'
import type { Provenance } from './snapshot.js'
import type { Subject } from './subject.js'

/** One line of the order of decision: it answers, or leaves that to the next. */
type Gate = (subject: Subject) => Outcome | undefined

/** The order of decision: the first line that answers decides. (An unknown flag never comes here.) */
export function compileFlag (key: string, flag: Flag, provenance: Provenance, environment: string): Served {
  const plan = planOf(key, flag, provenance, environment)
  const disabled = disabledBy(flag, environment)
  if (disabled !== undefined) return plan.answersBy()(plan.off, 'DISABLED', disabled)
  return firstOf([
    ...prerequisites(plan), //      DISABLED: prerequisite-failed, when one is not met
    ...targets(plan, 'users'), //   TARGETING_MATCH: target-user, when the user stands in any target
    ...targets(plan, 'groups'), //  TARGETING_MATCH: target-group, else when a group does (the earlier entry wins)
    ...targets(plan, 'regions'), // TARGETING_MATCH: target-region, else when the region does
    ...rules(plan) //               TARGETING_MATCH: rule, by the first that matches; or as below when it draws
  ], serve(plan)) //                STATIC or DEFAULT: default; SPLIT: rollout-hit, rollout-miss, split; DEFAULT: no-bucketing-key
}

function firstOf (gates: Gate[], last: Served): Served {
  const [first] = gates
  if (first === undefined) return last
  if (gates.length === 1) return (subject) => first(subject) ?? give(last, subject)
  return (subject) => {
    for (let i = 0; i < gates.length; i++) {
      const outcome = gates[i]!(subject)
      if (outcome !== undefined) return outcome
    }
    return give(last, subject)
  }
}

function prerequisites ({ settings: { prerequisites = [] }, off, answersBy }: Plan): Gate[] {
  if (prerequisites.length === 0) return []
  const failed = answersBy()(off, 'DISABLED', 'prerequisite-failed')
  return prerequisites.map(({ flag, variant = 'on' }) => (subject) => isMet(answerOf(flag, subject), variant) ? undefined : failed)
}

/** What a prerequisite answers to the same subject; undefined when it, or what it needs in turn, is missing or leads back to it. */
export function answerOf (prerequisite: string, subject: Subject): ResolutionDetails | undefined {
  const { snapshot, environment } = subject
  return snapshot.isAnswerable(prerequisite, environment) ? snapshot.flag(prerequisite)!.evaluate(subject).details : undefined
}

export function isMet (answer: ResolutionDetails | undefined, variant: string): boolean {
  return answer !== undefined && answer.variant === variant && answer.reason !== 'DISABLED' && answer.reason !== 'ERROR'
}

/** What targets name, and the cause they give, in the order in which they are asked. */
export const targetCauses = { users: 'target-user', groups: 'target-group', regions: 'target-region' } as const

function targets ({ flag, settings: { targets = [] }, answersBy }: Plan, kind: keyof typeof targetCauses): Gate[] {
  const entries = firstEntries(targets.map((target) => target[kind]))
  if (entries.size === 0) return []
  const outcomes = targets.map(({ variant }) => answersBy()(variantMeant(flag, variant), 'TARGETING_MATCH', targetCauses[kind]))
  const outcomeOf = (entry: number) => entry === none ? undefined : outcomes[entry]
  switch (kind) {
    case 'users': return [({ context: { targetingKey } }) => outcomeOf(entryOf(entries, targetingKey))]
    case 'groups': return [({ context: { groups } }) => outcomeOf(lowestEntryOf(entries, groups))]
    case 'regions': return [({ context: { region } }) => outcomeOf(lowestEntryOf(entries, region))]
  }
}

function rules (plan: Plan): Gate[] {
  return (plan.settings.rules ?? []).flatMap(({ when, serve }, index) => {
    let compiled: CompiledWhen
    try {
      compiled = compileWhen(when)
    } catch {
      return [] // it holds what this version cannot evaluate, and so never matches
    }
    const { test, segments } = compiled
    const served = compileDraw(drawOf(plan.flag, serve), placeOfRule(plan, index))
    if (segments.length === 0) return (subject: Subject) => test(subject.context, subject.snapshot) ? give(served, subject) : undefined
    return (subject: Subject) => subject.snapshot.areUsable(segments) && test(subject.context, subject.snapshot) ? give(served, subject) : undefined
  })
}

function serve (plan: Plan): Served {
  return compileDraw(drawOf(plan.flag, plan.settings.serve), placeOfServe(plan))
}
