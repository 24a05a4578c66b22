import type { FlagPatch } from '../admin.js'
import { errors } from '../errors.js'
import type { Flag } from '../model/flag.js'
import { isBoolean, offVariantOf, variantsOf } from '../model/meaning.js'
import { didYouMean } from '../model/nearest.js'
import type { Serve } from '../model/serve.js'
import { UsageError } from './failures.js'

/**
 * The patch that makes a flag serve what a person wrote: `25%`, or a variant's name. A percentage keeps what is served to it,
 * and to whom; a staged rollout, which either would end, is refused. An environment that is not there is created, disabled.
 */
export function settingOf (flag: Flag & { key: string }, value: string, environment: string | undefined): FlagPatch {
  const { key, environments } = flag
  if (environments === undefined) {
    if (environment !== undefined) throw new errors.WRONG_ENVIRONMENT(`Flag ${key} has no environments: what it serves holds in all of them. Leave --environment out`)
    return { serve: serveOf(flag, flag.serve, value) }
  }
  const names = Object.keys(environments)
  if (environment === undefined) throw new UsageError(`flag ${key} serves for each environment (${names.join(', ') || 'none yet'}); say which one with --environment`)
  const settings = Object.hasOwn(environments, environment) ? environments[environment] : undefined
  return { environments: { [environment]: { serve: serveOf(flag, settings?.serve, value) } } }
}

function serveOf (flag: Flag & { key: string }, serve: Serve | undefined, value: string): Serve {
  const draw = typeof serve === 'object' ? serve : undefined
  if (draw?.stages !== undefined) throw new errors.INVALID_REQUEST(`Flag ${flag.key} is in a staged rollout, which this would end; move it with fastify-flags advance or rollback, or disable it`)
  const variants = [...variantsOf(flag).keys()]
  if (variants.includes(value)) return value
  const percentage = /^(\d+(?:\.\d+)?)\s*%$/.exec(value)?.[1]
  if (percentage === undefined) {
    const hint = /^\d+(?:\.\d+)?$/.test(value) ? `; did you mean ${value}%?` : didYouMean(value, variants) || `; it has ${variants.join(', ')}, and takes a percentage such as 25%`
    throw new UsageError(`flag ${flag.key} has no variant "${value}"${hint}`)
  }
  if (Number(percentage) > 100) throw new UsageError(`${value} is more than everybody; a percentage is from 0% to 100%`)
  if (draw !== undefined) return { ...draw, percentage: Number(percentage) }
  if (isBoolean(flag)) return { percentage: Number(percentage) }
  if (typeof serve !== 'string' || serve === offVariantOf(flag)) {
    throw new UsageError(`flag ${flag.key} serves ${serve === undefined ? 'nothing there yet' : `${String(serve)} to everybody`}, so nobody knows what ${value} are to get; first set it to one of ${variants.filter((name) => name !== offVariantOf(flag)).join(', ')}`)
  }
  return { variant: serve, percentage: Number(percentage) }
}
