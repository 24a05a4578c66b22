import type { ErrorDetail } from '../errors.js'
import { mostVariants } from './experiment.js'
import { decidingFields, type Environment, type Flag } from './flag.js'
import { jsonTypeOf, pointer } from './json.js'
import { checkLayer } from './layer-check.js'
import { isBoolean, offVariantOf, variantsOf } from './meaning.js'
import { drawn, prerequisiteCycle, settingsOf } from './references.js'
import { checkServe } from './serve-check.js'
import { checkMeant, checkNamed, checkValues, example, listed, type Subject } from './variant-check.js'
import { checkWhen, type Surroundings } from './when-check.js'

type Details = Generator<ErrorDetail>

/** What the schema cannot say of a flag. */
export function * checkFlagMeaning (key: string, flag: Flag, around: Surroundings): Details {
  const { sound } = around
  const variants = sound('/variants') ? variantsOf(flag) : undefined
  const subject: Subject = { ...around, key, flag, variants }
  if (flag.key !== undefined && flag.key !== key && sound('/key')) yield { path: '/key', message: `must be "${key}", the key it is stored under, or left out` }
  if (sound('/variants') && flag.variants !== undefined) yield * checkValues(flag.variants)
  if (sound('/offVariant')) {
    const off = offVariantOf(flag)
    if (off !== undefined) yield * checkNamed(subject, off, '/offVariant')
    else if (variants !== undefined) yield { path: '/offVariant', message: `is missing; say which is served when nothing else is: ${listed(variants.keys())}` }
  }
  if (flag.environments !== undefined) {
    if (jsonTypeOf(flag.environments) !== 'object') return
    for (const field of decidingFields) {
      // `enabled` beside environments is the kill switch over all of them.
      if (field === 'enabled' || flag[field] === undefined) continue
      yield { path: `/${field}`, message: `must not stand beside environments; say it in each of them, such as /environments/production/${field}` }
    }
  }
  for (const { environment, settings, path } of settingsOf(flag)) {
    if (jsonTypeOf(settings) !== 'object') continue
    yield * checkPrerequisites(subject, settings, path, environment)
    for (const [target, place] of items(settings.targets, `${path}/targets`)) {
      if (sound(place)) yield * checkMeant(subject, target.variant, `${place}/variant`)
    }
    yield * checkRules(subject, settings, path)
    yield * checkElse(subject, settings, path)
    const control = settings.experiment?.control
    if (control !== undefined && sound(`${path}/experiment`)) yield * checkNamed(subject, control, `${path}/experiment/control`)
    const { serve } = settings
    if (settings.experiment !== undefined && sound(`${path}/serve`) && typeof serve === 'object' && Object.keys(serve.split ?? {}).length > mostVariants) {
      yield { path: `${path}/experiment`, message: `compares at most ${mostVariants} variants, and the split beside it has more; leave the experiment out` }
    }
    if (sound(`${path}/experiment`)) yield * checkLayer(subject, settings, path, environment)
  }
}

function * checkPrerequisites ({ key, others, sound }: Subject, settings: Environment, path: string, environment: string | undefined): Details {
  for (const [{ flag: needed, variant }, place] of items(settings.prerequisites, `${path}/prerequisites`)) {
    if (!sound(place)) continue
    const cycle = prerequisiteCycle(key, needed, environment, others)
    if (cycle !== undefined) {
      yield { path: `${place}/flag`, message: `leads back to this flag (${drawn(cycle)}); leave one of these prerequisites out` }
      continue
    }
    const flag = others.flag(needed)
    if (flag === undefined) yield { path: `${place}/flag`, message: `names a flag "${needed}" that is not there; create it first` }
    else yield * checkMeant({ flag, variants: variantsOf(flag) }, variant, `${place}/variant`)
  }
}

function * checkRules (subject: Subject, settings: Environment, path: string): Details {
  // Answers, explanations and the state of a rollout name a rule by its name, or else its number.
  const rules = [...items(settings.rules, `${path}/rules`)]
  const names = new Map(rules.flatMap(([{ name }, place]) => name === undefined ? [[place.slice(`${path}/rules/`.length), place]] : []))
  for (const [rule, place] of rules) {
    const { name } = rule
    if (name !== undefined && subject.sound(`${place}/name`)) {
      const other = names.get(name)
      if (other === undefined) names.set(name, place)
      else yield { path: `${place}/name`, message: `must not be ${JSON.stringify(name)} again, the name of ${other}; give each rule another, or none` }
    }
    yield * checkWhen(rule.when, `${place}/when`, subject)
    if (!subject.sound(`${place}/serve`)) continue
    if (rule.serve !== undefined) yield * checkServe(subject, rule.serve, `${place}/serve`)
    else if (!isBoolean(subject.flag)) yield { path: `${place}/serve`, message: `is missing; say what those whom the rule matches get, such as ${example(subject)}` }
  }
}

/** What everyone else gets: may be left out only where nobody else is spoken of and `on` can be meant. */
function * checkElse (subject: Subject, settings: Environment, path: string): Details {
  const { serve, targets, rules } = settings
  if (!subject.sound(`${path}/serve`)) return
  if (serve !== undefined) yield * checkServe(subject, serve, `${path}/serve`)
  else if (!isBoolean(subject.flag) || [targets, rules].some((list) => Array.isArray(list) && list.length > 0)) {
    yield { path: `${path}/serve`, message: `is missing; say what everyone else gets, such as ${example(subject)}` }
  }
}

/** The objects of a list with their places; nothing when it is no list. */
function * items<T extends object> (list: readonly T[] | undefined, path: string): Generator<[T, string]> {
  if (!Array.isArray(list)) return
  for (const [index, item] of list.entries()) if (jsonTypeOf(item) === 'object') yield [item, pointer(path, index)]
}
