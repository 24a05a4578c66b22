import type { Admin } from '../admin.js'
import type { EvaluationContext } from '../model/context.js'
import { columns, styled, type Terminal } from './terminal.js'

type Explanation = ReturnType<Admin['explain']>
type Step = Explanation['steps'][number]
type Explained<Check extends Step['check']> = Extract<Step, { check: Check }>
type Draw = Explained<'serve'>['serve']
type When = Explained<'rule'>['when']

/** An explanation for a person: what is answered, and below it each line of the order of decision that was asked. */
export function tellExplanation ({ key, environment, steps, resolution }: Explanation, { targetingKey }: EvaluationContext, terminal: Pick<Terminal, 'colours'>): string {
  const { value, variant, reason, errorMessage, flagMetadata } = resolution
  const who = targetingKey === undefined ? 'nobody in particular' : String(targetingKey)
  const answer = errorMessage ?? `${styled(terminal, 'bold', String(variant))}${variant === value ? '' : ` (${shown(value)})`}`
  const rows = steps.flatMap((step) => {
    const [first = '', ...others] = told(step)
    const mark = step.answers ? styled(terminal, 'green', '→') : ' '
    return [[mark, nameOf(step), first], ...others.map((line) => ['', '', line])]
  })
  return `${styled(terminal, 'bold', key)} for ${who} in ${environment}: ${answer}
${styled(terminal, 'dim', [reason, flagMetadata.cause, `version ${flagMetadata.version}`].filter((part) => part !== undefined).join(', '))}
${columns(undefined, rows)}`
}

function nameOf (step: Step): string {
  return step.check === 'rule' ? `rule ${step.rule}` : step.check
}

function told (step: Step): string[] {
  switch (step.check) {
    case 'enabled': return [step.why ?? 'yes', ...step.answers && step.environments !== undefined ? [`it has ${step.environments.join(', ') || 'none'}`] : []]
    case 'prerequisite': return [`${step.flag} must serve ${step.variant}: ${step.met ? 'it does' : step.why ?? 'it does not'}`]
    case 'rule': return [step.matched ? 'matches' : step.why ?? 'does not match', ...toldWhen(step.when), ...step.serve === undefined ? [] : toldDraw(step.serve)]
    case 'serve': return toldDraw(step.serve)
    case 'failure': return [step.why ?? 'it cannot be evaluated']
    default: {
      const actual = step.actual === null ? 'nothing was said' : shown(step.actual)
      return [step.entry === null ? `${actual}, in no target` : `${actual}, in target ${step.entry + 1}: ${step.variant}`]
    }
  }
}

function toldDraw ({ by, hashed, seed, stages, layer, rollout, split, variant, why }: Draw): string[] {
  const lines: string[] = []
  if (stages !== undefined) {
    const { stage, of, percentage, groups, next, heldBack, pausedAt } = stages
    const more = [groups.length === 0 ? '' : `groups ${groups.join(', ')}`, next === undefined ? '' : `the next one at ${next}`, heldBack === undefined ? '' : 'its guard has not yet seen enough of it', pausedAt === undefined ? '' : `paused since ${pausedAt}`]
    lines.push([`stage ${stage + 1} of ${of}, ${percentage} %`, ...more.filter((part) => part !== '')].join(', '))
  }
  if (layer !== undefined) {
    lines.push(`layer ${layer.name}: ${layer.place === null ? 'no place' : `place ${layer.place.toFixed(3)} of 100`}, ${layer.in === true ? 'in' : layer.in === false ? 'out' : 'unknown'}`)
  }
  if (rollout !== undefined) {
    const { bucket, threshold, group } = rollout
    const place = group !== undefined ? `in group ${group}` : bucket === null ? 'no place' : `place ${bucket.toFixed(3)} of 100`
    lines.push(`${threshold} % of ${by}: ${place}, ${rollout.in === true ? 'in' : rollout.in === false ? 'out' : 'unknown'}`)
  }
  if (split !== undefined) {
    lines.push(`split ${Object.entries(split.weights).map(([name, weight]) => `${name} ${weight}`).join(', ')}: ${split.variant ?? 'none'}`)
  }
  if (seed !== undefined && hashed !== null && hashed !== undefined) lines.push(`hashed: ${shown(hashed)} with the seed ${shown(seed)}`)
  if (why !== undefined) lines.push(why)
  return [...lines, `serves ${variant}`]
}

function toldWhen (when: When, indent = ''): string[] {
  const holds = when.matched === null ? 'cannot be evaluated' : when.matched ? 'yes' : 'no'
  const line = (text: string) => `${indent}${text}: ${holds}${when.why === undefined ? '' : `, ${when.why}`}`
  const within = (parts: When[]) => parts.flatMap((part) => toldWhen(part, indent + '  '))
  if ('all' in when) return [line('all of'), ...within(when.all)]
  if ('any' in when) return [line('any of'), ...within(when.any)]
  if ('not' in when) return [line('not'), ...within([when.not])]
  if ('segment' in when) return [line(`segment ${when.segment}`), ...when.when === undefined ? [] : within([when.when])]
  if ('unknown' in when) return [line(shown(when.unknown))]
  const { attribute, operator, value, actual } = when
  return [line(`${attribute} ${operator}${value === undefined ? '' : ` ${shown(value)}`}, is ${actual === undefined ? 'missing' : shown(actual)}`)]
}

function shown (value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
