/**
 * The limit: what somebody would write by hand for exactly these flags. One closure a flag, Sets, murmur3 with the flag's part
 * folded, frozen results. It knows nothing of environments, time, explanations, mixed types or changes.
 */
export interface Context { readonly targetingKey: string, readonly groups: readonly string[], readonly region: string, readonly plan: string, readonly age: number, readonly country: string }
export interface Result { readonly enabled: boolean, readonly value: unknown, readonly variant: string, readonly reason: string }
export type Flag = (context: Context) => Result

const result = (enabled: boolean, value: unknown, variant: string, reason: string): Result => Object.freeze({ enabled, value, variant, reason })

export class HandWritten {
  readonly #flags: Map<string, Flag>

  constructor (flags: Map<string, Flag>) {
    this.#flags = flags
  }

  isEnabled (key: string, context: Context, fallback = false): boolean {
    const flag = this.#flags.get(key)
    return flag === undefined ? fallback : flag(context).enabled
  }

  getValue<T> (key: string, context: Context, fallback: T): T {
    const flag = this.#flags.get(key)
    return flag === undefined ? fallback : flag(context).value as T
  }

  getAll (context: Context): Record<string, unknown> {
    const values: Record<string, unknown> = {}
    for (const [key, flag] of this.#flags) values[key] = flag(context).value
    return values
  }
}

export function onOff (on: boolean): Flag {
  const answer = on ? result(true, true, 'on', 'STATIC') : result(false, false, 'off', 'DISABLED')
  return () => answer
}

export function listed (users: string[]): Flag {
  const set = new Set(users)
  const hit = result(true, true, 'on', 'TARGETING_MATCH')
  const miss = result(false, false, 'off', 'DEFAULT')
  return (context) => set.has(context.targetingKey) ? hit : miss
}

export function percentage (key: string, percent: number): Flag {
  const state = fold(`${key}:rollout:`)
  const threshold = percent / 100 * 2 ** 32
  const hit = result(true, true, 'on', 'SPLIT')
  const miss = result(false, false, 'off', 'SPLIT')
  return (context) => murmur3(state, context.targetingKey) < threshold ? hit : miss
}

export function conditionsAndPercentage (key: string, plans: string[], age: number, country: string, percent: number): Flag {
  const state = fold(`${key}:rollout:`)
  const threshold = percent / 100 * 2 ** 32
  const set = new Set(plans)
  const hit = result(true, true, 'on', 'SPLIT')
  const miss = result(false, false, 'off', 'SPLIT')
  const other = result(false, false, 'off', 'DEFAULT')
  return (context) => {
    if (set.has(context.plan) && context.age >= age && context.country !== country) {
      return murmur3(state, context.targetingKey) < threshold ? hit : miss
    }
    return other
  }
}

export function split (key: string, weights: Record<string, number>, values: Record<string, unknown>): Flag {
  const state = fold(`${key}:split:`)
  const bounds: number[] = []
  let sum = 0
  for (const weight of Object.values(weights)) bounds.push((sum += weight) / 100 * 2 ** 32)
  const results = Object.keys(weights).map((name) => result(true, values[name], name, 'SPLIT'))
  return (context) => {
    const hash = murmur3(state, context.targetingKey)
    for (let i = 0; i < bounds.length; i++) if (hash < bounds[i]!) return results[i]!
    return results[results.length - 1]!
  }
}

interface Fold { readonly h: number, readonly length: number }

function fold (text: string): Fold {
  const padded = text.padEnd(text.length + 3 & ~3, ' ')
  let h = 0
  for (let i = 0; i < padded.length; i += 4) h = mix(h, word(padded, i))
  return { h, length: padded.length }
}

/** ASCII only. */
function murmur3 ({ h, length }: Fold, text: string): number {
  const words = text.length & ~3
  let i = 0
  for (; i < words; i += 4) h = mix(h, word(text, i))
  let rest = 0
  for (let shift = 0; i < text.length; i++, shift += 8) rest |= text.charCodeAt(i) << shift
  rest = Math.imul(rest, 0xcc9e2d51)
  h ^= Math.imul(rest << 15 | rest >>> 17, 0x1b873593)
  h ^= length + text.length
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b)
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35)
  return (h ^ h >>> 16) >>> 0
}

function word (text: string, i: number): number {
  return text.charCodeAt(i) | text.charCodeAt(i + 1) << 8 | text.charCodeAt(i + 2) << 16 | text.charCodeAt(i + 3) << 24
}

function mix (h: number, k: number): number {
  k = Math.imul(k, 0xcc9e2d51)
  h ^= Math.imul(k << 15 | k >>> 17, 0x1b873593)
  return Math.imul(h << 13 | h >>> 19, 5) + 0xe6546b64 | 0
}
