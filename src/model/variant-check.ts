import type { ErrorDetail } from '../errors.js'
import type { Flag, Variants } from './flag.js'
import { jsonTypeOf, pointer, type JsonValue } from './json.js'
import { offVariantOf, variantMeant } from './meaning.js'
import { didYouMean } from './nearest.js'
import type { Surroundings } from './when-check.js'

/** A flag under check. `variants` is undefined when their form is wrong, so that nobody complains of a name. */
export interface Subject extends Surroundings {
  key: string
  flag: Flag
  variants: ReadonlyMap<string, JsonValue> | undefined
}

type Details = Generator<ErrorDetail>

/** Each value's JSON type must be that of the first; names in a list must differ. */
export function * checkValues (variants: Variants): Details {
  if (Array.isArray(variants)) {
    for (const [index, name] of variants.entries()) {
      if (variants.indexOf(name) < index) yield { path: `/variants/${index}`, message: `stands twice: leave one "${name}" out` }
    }
    return
  }
  let first: { name: string, type: string } | undefined
  for (const [name, value] of Object.entries(variants)) {
    const type = jsonTypeOf(value)!
    if (value === null) yield { path: pointer('/variants', name), message: 'must have a value, not null; take a value of the type of the others, such as "" or false' }
    else if (first === undefined) first = { name, type }
    else if (type !== first.type) yield { path: pointer('/variants', name), message: `must be of one JSON type with "${first.name}" (${first.type}), not ${type}` }
  }
}

/** A variant that may be left out of a boolean flag's parts, where it means `on`. */
export function * checkMeant (subject: Pick<Subject, 'flag' | 'variants'>, variant: string | undefined, path: string): Details {
  const meant = variantMeant(subject.flag, variant)
  if (meant !== undefined) yield * checkNamed(subject, meant, path)
  else if (subject.variants !== undefined) yield { path, message: `is missing; say which variant: ${listed(subject.variants.keys())}` }
}

export function * checkNamed ({ variants }: Pick<Subject, 'variants'>, variant: string, path: string): Details {
  if (variants === undefined || variants.has(variant)) return
  yield { path, message: `names a variant "${variant}" that is not there${didYouMean(variant, variants.keys()) || `; there are ${listed(variants.keys())}`}` }
}

/** Something that may be served, for a sentence. */
export function example ({ flag, variants }: Pick<Subject, 'flag' | 'variants'>): string {
  const off = offVariantOf(flag)
  return JSON.stringify(off ?? variants?.keys().next().value ?? 'off')
}

/** Names for a sentence. */
export function listed (names: Iterable<string>): string {
  const all = [...names]
  return all.slice(0, 20).map((name) => `"${name}"`).join(', ') + (all.length > 20 ? ', …' : '')
}
