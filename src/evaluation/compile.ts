import type { Environment, Flag } from '../model/flag.js'
import { disabledBy, drawOf, environmentOf, offVariantOf, variantMeant } from '../model/meaning.js'
import { firstEntries, lowestOf, none, textOf } from './attributes.js'
import { compileWhen, type CompiledWhen } from './conditions.js'
import type { Outcome, ResolutionDetails } from './details.js'
import { always, compileDraw } from './draw.js'
import { answersOf, failureOf, type Answer } from './outcomes.js'
import type { Provenance } from './snapshot.js'
import type { Subject } from './subject.js'

/** A flag compiled for one environment: pure, never throws, allocates nothing. */
export type Evaluate = (subject: Subject) => Outcome

/** One line of the order of decision: it answers, or leaves that to the next. */
type Gate = (subject: Subject) => Outcome | undefined

/** A flag in an environment, and what makes its answers. */
interface Plan { key: string, flag: Flag, settings: Environment, off: string | undefined, answersBy: (rule?: string) => Answer }

/** The order of decision: the first line that answers decides, the last one always does. (An unknown flag never comes here.) */
function orderOfDecision (plan: Plan): Gate[] {
  return [
    ...prerequisites(plan), //      DISABLED: prerequisite-failed, when one is not met
    ...targets(plan, 'users'), //   TARGETING_MATCH: target-user, when the user stands in any target
    ...targets(plan, 'groups'), //  TARGETING_MATCH: target-group, else when a group does (the earlier entry wins)
    ...targets(plan, 'regions'), // TARGETING_MATCH: target-region, else when the region does
    ...rules(plan), //              TARGETING_MATCH: rule, by the first that matches; or as below when it draws
    serve(plan) //                  STATIC or DEFAULT: default; SPLIT: rollout-hit, rollout-miss, split; DEFAULT: no-bucketing-key
  ]
}

export function compileFlag (key: string, flag: Flag, provenance: Provenance, environment: string): Evaluate {
  try {
    const answersBy = answersOf(flag, provenance, environment)
    const off = offVariantOf(flag)
    const disabled = disabledBy(flag, environment)
    if (disabled !== undefined) return always(answersBy()(off, 'DISABLED', disabled))
    return firstOf(orderOfDecision({ key, flag, settings: environmentOf(flag, environment)!, off, answersBy }))
  } catch (error) {
    return always(failureOf(error))
  }
}

function firstOf (gates: Gate[]): Evaluate {
  const [first, second] = gates
  const decide = gates.length === 1
    ? first as Evaluate
    : gates.length === 2
      ? (subject: Subject) => first!(subject) ?? second!(subject)!
      : (subject: Subject) => {
          for (let i = 0; ; i++) {
            const outcome = gates[i]!(subject)
            if (outcome !== undefined) return outcome
          }
        }
  return (subject) => {
    try {
      return decide(subject)
    } catch (error) {
      return failureOf(error)
    }
  }
}

function prerequisites ({ settings: { prerequisites = [] }, off, answersBy }: Plan): Gate[] {
  if (prerequisites.length === 0) return []
  const failed = answersBy()(off, 'DISABLED', 'prerequisite-failed')
  return prerequisites.map(({ flag, variant = 'on' }) => (subject) => isMet(answerOf(flag, subject), variant) ? undefined : failed)
}

/** What a prerequisite answers to the same subject; undefined when it is missing or its own prerequisites are, or lead back to it. */
export function answerOf (prerequisite: string, subject: Subject): ResolutionDetails | undefined {
  const { snapshot, environment } = subject
  return snapshot.isAnswerable(prerequisite, environment) ? snapshot.flag(prerequisite)!.evaluator(environment)(subject).details : undefined
}

export function isMet (answer: ResolutionDetails | undefined, variant: string): boolean {
  return answer !== undefined && answer.variant === variant && answer.reason !== 'DISABLED' && answer.reason !== 'ERROR'
}

const causes = { users: 'target-user', groups: 'target-group', regions: 'target-region' } as const

function targets ({ flag, settings: { targets = [] }, answersBy }: Plan, kind: keyof typeof causes): Gate[] {
  const entries = firstEntries(targets.map((target) => target[kind]))
  if (entries.size === 0) return []
  const outcomes = targets.map(({ variant }) => answersBy()(variantMeant(flag, variant), 'TARGETING_MATCH', causes[kind]))
  const outcomeOf = (entry: number) => entry === none ? undefined : outcomes[entry]
  switch (kind) {
    case 'users': return [({ context: { targetingKey } }) => outcomeOf(entries.get(textOf(targetingKey) ?? '') ?? none)]
    case 'groups': return [({ context: { groups } }) => outcomeOf(lowestOf(entries, groups))]
    case 'regions': return [({ context: { region } }) => outcomeOf(lowestOf(entries, region))]
  }
}

function rules (plan: Plan): Gate[] {
  const { key, flag, settings: { rules = [] }, off, answersBy } = plan
  return rules.flatMap(({ name, when, serve }, index) => {
    let compiled: CompiledWhen
    try {
      compiled = compileWhen(when)
    } catch {
      return [] // it holds what this version cannot evaluate, and so never matches
    }
    const { test, segments } = compiled
    const answer = answersBy(name ?? String(index))
    const give = compileDraw(drawOf(flag, serve), { answer, seed: key, otherwise: off, constant: { reason: 'TARGETING_MATCH', cause: 'rule' }, unkeyed: 'TARGETING_MATCH' })
    if (segments.length === 0) return (subject) => test(subject.context, subject.snapshot) ? give(subject) : undefined
    return (subject) => segments.every((segment) => subject.snapshot.isUsable(segment)) && test(subject.context, subject.snapshot) ? give(subject) : undefined
  })
}

function serve ({ key, flag, settings, off, answersBy }: Plan): Evaluate {
  const { prerequisites = [], targets = [], rules = [] } = settings
  const reason = prerequisites.length + targets.length + rules.length === 0 ? 'STATIC' : 'DEFAULT'
  return compileDraw(drawOf(flag, settings.serve), { answer: answersBy(), seed: key, otherwise: off, constant: { reason, cause: 'default' }, unkeyed: 'DEFAULT' })
}
