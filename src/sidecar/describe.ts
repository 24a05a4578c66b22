import { stageAt } from '../model/stages.js'
import type { Environment, Flag } from '../model/flag.js'
import { layerOf } from '../model/layer.js'
import { drawOf, isBoolean, isSwitchedOn, offVariantOf } from '../model/meaning.js'

/** What a flag serves, in a few words: `25 %, 1 target`, or `production off · staging on`. `now` is epoch milliseconds. */
export function describe (flag: Flag, now = Date.now()): string {
  if (!isSwitchedOn(flag)) return 'off'
  if (flag.environments === undefined) return describeSettings(flag, flag, now)
  const parts = Object.entries(flag.environments).map(([name, settings]) => `${name} ${settings.enabled === true ? describeSettings(flag, settings, now) : 'off'}`)
  return parts.length === 0 ? 'off' : parts.join(' · ')
}

/** What is served where it is enabled. */
function describeSettings (flag: Flag, settings: Environment, now: number): string {
  const { serve, targets = [], rules = [], prerequisites = [] } = settings
  const layer = layerOf(flag, settings)
  return [
    described(flag, serve, now),
    layer === undefined ? '' : `in layer ${layer}`,
    counted(targets.length, 'target'),
    counted(rules.length, 'rule'),
    prerequisites.length === 0 ? '' : `needs ${prerequisites.map(({ flag }) => flag).join(' and ')}`
  ].filter((part) => part !== '').join(', ')
}

function described (flag: Flag, serve: Environment['serve'], now: number): string {
  const draw = drawOf(flag, serve)
  const { variant, split, percentage, stages, state } = draw
  const what = split !== undefined ? `split ${Object.entries(split).map(([name, weight]) => `${name} ${weight}`).join(', ')}` : variant ?? 'nothing'
  if (stages !== undefined) {
    const stage = stageAt({ ...draw, stages }, now)
    const stands = state?.pausedAt === undefined ? '' : ', paused'
    const of = isBoolean(flag) && variant === 'on' ? '' : ` ${what}`
    return `${stages[stage]?.percentage ?? 0} %${of} (stage ${stage + 1} of ${stages.length}${stands})`
  }
  if (percentage !== undefined) return `${percentage} %${isBoolean(flag) && variant === 'on' ? '' : ` ${what}`}`
  return isBoolean(flag) || variant !== offVariantOf(flag) ? what : `${what} (as if off)`
}

function counted (count: number, what: string): string {
  return count === 0 ? '' : `${count} ${what}${count === 1 ? '' : 's'}`
}
