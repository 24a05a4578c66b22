import type { ResolutionDetails } from './details.js'
import { enter, leave } from './effort.js'
import type { Subject } from './subject.js'

/** What prerequisites that have prerequisites of their own answered, by subject. */
const answers = new WeakMap<Subject, Map<string, ResolutionDetails>>()

/** What a prerequisite answers to the same subject; undefined when it, or what it needs in turn, is missing or leads back to it. */
export function answerOf (prerequisite: string, subject: Subject): ResolutionDetails | undefined {
  const { snapshot, environment } = subject
  const depth = snapshot.prerequisiteDepth(prerequisite, environment)
  if (depth === Infinity) return undefined
  if (depth === 0) return ask(prerequisite, subject)
  return answers.get(subject)?.get(prerequisite) ?? answerInTurn(prerequisite, subject)
}

/**
 * Asks what a prerequisite needs before itself, and each flag once: many ways may lead to one flag, twice as many at each
 * further step, and a way may be longer than the call stack.
 */
function answerInTurn (prerequisite: string, subject: Subject): ResolutionDetails {
  const { snapshot, environment } = subject
  let known = answers.get(subject)
  if (known === undefined) answers.set(subject, known = new Map())
  const open = [prerequisite]
  for (let key = open.at(-1); key !== undefined; key = open.at(-1)) {
    const before = known.has(key) ? [] : snapshot.prerequisites(key, environment)!.filter((key) => !known.has(key))
    if (before.length > 0) {
      open.push(...before)
    } else {
      if (!known.has(key)) known.set(key, ask(key, subject))
      open.pop()
    }
  }
  return known.get(prerequisite)!
}

/** What it costs counts towards the flag that needs it. */
function ask (key: string, subject: Subject): ResolutionDetails {
  enter()
  try {
    return subject.snapshot.flag(key)!.evaluate(subject).details
  } finally {
    leave()
  }
}

export function isMet (answer: ResolutionDetails | undefined, variant = 'on'): boolean {
  return answer !== undefined && answer.variant === variant && answer.reason !== 'DISABLED' && answer.reason !== 'ERROR'
}
