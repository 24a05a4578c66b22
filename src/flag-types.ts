import type { JsonValue } from './model/json.js'

/**
 * The flags an app knows and the types of their values; merge your own into it, and keys and values are checked:
 * `declare module 'fastify-flags' { interface FlagTypes { 'new-checkout': boolean } }`
 */
export interface FlagTypes {}

type Untyped = keyof FlagTypes extends never ? true : false

/** A flag's key: any text until `FlagTypes` names the flags, then one of those. */
export type FlagKey = Untyped extends true ? string : Extract<keyof FlagTypes, string>

/** What may stand in for a flag's value. */
export type Fallback<K> = K extends keyof FlagTypes ? FlagTypes[K] | null | undefined : unknown

/** The type of a flag's value: what `FlagTypes` says, else that of the fallback, as `number` for 10 and not as the literal. */
export type Value<K, D> =
  K extends keyof FlagTypes ? FlagTypes[K] | Extract<D, null | undefined> :
      [D] extends [null | undefined] ? JsonValue | D : Widened<D>

type Widened<D> = D extends boolean ? boolean : D extends number ? number : D extends string ? string : D

/** What `getAll` gives: flags may be missing, and there may be more than `FlagTypes` names. */
export type FlagValues = Untyped extends true ? Record<string, JsonValue> : { [K in keyof FlagTypes]?: FlagTypes[K] }
