import Type, { type Static } from 'typebox'

const form = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/

/** What flags, segments, environments and variants may be called. A prototype's names (`constructor`, …) are refused by the checks. */
export const Key = Type.String({
  pattern: form.source,
  description: 'a key of 1 to 100 letters, digits, ".", "_", ":" or "-", beginning with a letter or digit'
})
export type Key = Static<typeof Key>

export function isKey (value: unknown): value is Key {
  return typeof value === 'string' && form.test(value) && !(value in Object.prototype)
}
