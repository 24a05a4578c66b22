import type { Environment, Flag, Rule } from './flag.js'
import type { JsonValue } from './json.js'
import type { Draw, Serve } from './serve.js'

/**
 * What a flag's short forms mean, said once for evaluation, checks and administration alike.
 * Every function here takes a flag that passed the checks, or was read by `readFlag`.
 */

const booleanVariants: ReadonlyMap<string, JsonValue> = new Map([['on', true], ['off', false]])

/** Whether the flag has no variants of its own: it is `on` or `off`, and `on` is meant wherever a variant is left out. */
export function isBoolean (flag: Flag): boolean {
  return flag.variants === undefined
}

/** The flag's variants: name to value. */
export function variantsOf ({ variants }: Flag): ReadonlyMap<string, JsonValue> {
  if (variants === undefined) return booleanVariants
  return new Map(Array.isArray(variants) ? variants.map((name) => [name, name]) : Object.entries(variants))
}

/** The name of the variant that is served when nothing else is; undefined where an object of variants lacks it. */
export function offVariantOf ({ offVariant, variants }: Flag): string | undefined {
  if (offVariant !== undefined) return offVariant
  if (variants === undefined) return 'off'
  return Array.isArray(variants) ? variants[0] : undefined
}

/** The variant meant by a target, rule or prerequisite; undefined where a flag with variants of its own left it out. */
export function variantMeant (flag: Flag, variant: string | undefined): string | undefined {
  return variant ?? (isBoolean(flag) ? 'on' : undefined)
}

/** Whether the flag as a whole is on: with environments a kill switch over all, on unless said; without, off unless said. */
export function isSwitchedOn (flag: Flag): boolean {
  return flag.enabled ?? flag.environments !== undefined
}

/**
 * The fields that decide in an environment: the environment's own, or those at the top of a flag without environments,
 * which stand for every environment. Undefined when the flag has environments, but not this one.
 */
export function environmentOf (flag: Flag, name: string): Environment | undefined {
  if (flag.environments === undefined) return flag
  return Object.hasOwn(flag.environments, name) ? flag.environments[name] : undefined
}

/** The places of the rules that a name or a number (the first being 0) means: none, one, or all of that name. */
export function rulesMeant (rules: readonly Rule[], rule: string | number): number[] {
  const named = rules.flatMap(({ name }, index) => name === rule ? [index] : [])
  if (named.length > 0) return named
  const index = typeof rule === 'number' || /^\d{1,4}$/.test(rule) ? Number(rule) : -1
  return rules[index] === undefined ? [] : [index]
}

/** Why a flag answers DISABLED in an environment by itself (rows 2 to 4 of the order of decision), or undefined. */
export function disabledBy (flag: Flag, name: string): 'flag-disabled' | 'environment-missing' | 'environment-disabled' | undefined {
  if (!isSwitchedOn(flag)) return 'flag-disabled'
  const environment = environmentOf(flag, name)
  if (environment === undefined) return 'environment-missing'
  return environment.enabled === true ? undefined : 'environment-disabled'
}

/** The serves of an environment, each with the rule it stands in: its name, or else its index; undefined for what is served to all others. */
export function servesOf ({ serve, rules = [] }: Environment): Array<{ serve: Serve | undefined, rule: string | undefined }> {
  return [{ serve, rule: undefined }, ...rules.map(({ serve, name }, index) => ({ serve, rule: name ?? String(index) }))]
}

/**
 * A serve in its long form. `variant` is filled in where neither it nor `split` is given and the flag is boolean;
 * the same for a serve left out altogether, which the checks allow only where it means `on`.
 */
export function drawOf (flag: Flag, serve: Serve | undefined): Draw {
  if (typeof serve === 'string') return { variant: serve }
  if (serve?.split !== undefined) return serve
  return { ...serve, variant: variantMeant(flag, serve?.variant) }
}
