import type { Flag } from '../model/flag.js'
import type { When } from '../model/condition.js'
import { disabledBy, drawOf, variantMeant } from '../model/meaning.js'
import { firstEntries, lowestEntryOf, none } from './attributes.js'
import { compileWhen, whereUsable, type Matches } from './conditions.js'
import { compileDraw, give, targetingKeyOf, type Served } from './draw.js'
import { placeOfRule, placeOfServe, planOf, type Plan } from './plan.js'
import { answerOf, isMet } from './prerequisites.js'
import type { Provenance } from './snapshot.js'

/** A line of the order of decision, compiled: it answers, or gives what the `next` lines answer. */
type Line = (plan: Plan, next: Served) => Served

/** The order of decision among flags that are there and enabled: the first line that answers decides. */
const orderOfDecision: readonly Line[] = [
  prerequisites, // DISABLED: prerequisite-failed, when one is not met
  targetUsers, //   TARGETING_MATCH: target-user, when the user stands in any target
  targetGroups, //  TARGETING_MATCH: target-group, else when a group does; the earlier entry wins
  targetRegions, // TARGETING_MATCH: target-region, else when the region does
  rules //          TARGETING_MATCH: rule, by the first that matches; or as below when it draws
] //                otherwise STATIC or DEFAULT: default; SPLIT: layer-miss, rollout-hit, rollout-miss, split; DEFAULT: no-bucketing-key

/** Throws when the flag serves a variant that it does not have. */
export function compileFlag (key: string, flag: Flag, provenance: Provenance, environment: string): Served {
  const plan = planOf(key, flag, provenance, environment)
  const disabled = disabledBy(flag, environment) // before all else: flag-disabled, environment-missing, environment-disabled
  if (disabled !== undefined) return plan.answersBy()(plan.off, 'DISABLED', disabled)
  const serve = compileDraw(drawOf(flag, plan.settings.serve), placeOfServe(plan))
  return orderOfDecision.reduceRight<Served>((next, line) => line(plan, next), serve)
}

function prerequisites ({ settings: { prerequisites = [] }, off, answersBy }: Plan, next: Served): Served {
  if (prerequisites.length === 0) return next
  const failed = answersBy()(off, 'DISABLED', 'prerequisite-failed')
  return (subject) => {
    for (const { flag, variant } of prerequisites) if (!isMet(answerOf(flag, subject), variant)) return failed
    return give(next, subject)
  }
}

function targetUsers (plan: Plan, next: Served): Served {
  const { entries, outcomes } = targetsOf(plan, 'users')
  if (entries.size === 0) return next
  const byUser = new Map(Array.from(entries, ([user, entry]) => [user, outcomes[entry]]))
  return (subject) => byUser.get(targetingKeyOf(subject.context)) ?? give(next, subject)
}

function targetGroups (plan: Plan, next: Served): Served {
  const { entries, outcomes } = targetsOf(plan, 'groups')
  if (entries.size === 0) return next
  return (subject) => {
    const entry = lowestEntryOf(entries, subject.context.groups)
    return entry === none ? give(next, subject) : outcomes[entry]!
  }
}

function targetRegions (plan: Plan, next: Served): Served {
  const { entries, outcomes } = targetsOf(plan, 'regions')
  if (entries.size === 0) return next
  return (subject) => {
    const entry = lowestEntryOf(entries, subject.context.region)
    return entry === none ? give(next, subject) : outcomes[entry]!
  }
}

export const targetCauses = { users: 'target-user', groups: 'target-group', regions: 'target-region' } as const

/** The first target in which each name stands, and what each target answers. */
function targetsOf ({ flag, settings: { targets = [] }, answersBy }: Plan, kind: keyof typeof targetCauses) {
  return {
    entries: firstEntries(targets.map((target) => target[kind])),
    outcomes: targets.map(({ variant }) => answersBy()(variantMeant(flag, variant), 'TARGETING_MATCH', targetCauses[kind]))
  }
}

function rules (plan: Plan, next: Served): Served {
  const rules = (plan.settings.rules ?? []).flatMap(({ when, serve }, index) => {
    const matches = matcherOf(when)
    return matches === undefined ? [] : { matches, served: compileDraw(drawOf(plan.flag, serve), placeOfRule(plan, index)) }
  })
  const [first] = rules
  if (first === undefined) return next
  if (rules.length === 1) {
    const { matches, served } = first
    return (subject) => give(matches(subject.context, subject.snapshot) ? served : next, subject)
  }
  return (subject) => {
    const { context, snapshot } = subject
    for (let i = 0; i < rules.length; i++) if (rules[i]!.matches(context, snapshot)) return give(rules[i]!.served, subject)
    return give(next, subject)
  }
}

/** Undefined where a rule holds what this version cannot evaluate, and so never matches. */
function matcherOf (when: When): Matches | undefined {
  try {
    return whereUsable(compileWhen(when))
  } catch {
    return undefined
  }
}
