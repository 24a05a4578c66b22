import Type, { type Static } from 'typebox'

// What every object answers to is no name for anything: an own property of that name would be mistaken for it, or the other way round.
const notInherited = `(?!(?:${Object.getOwnPropertyNames(Object.prototype).join('|')})$)`
const pattern = `^${notInherited}[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`
const form = new RegExp(pattern)

export const keyDescription = 'a key of 1 to 100 letters, digits, ".", "_", ":" or "-", beginning with a letter or digit, and no name that every JavaScript object has, such as "constructor"'

/** What flags, segments, environments and variants may be called. */
export const Key = Type.String({ pattern, description: keyDescription })
export type Key = Static<typeof Key>

export function isKey (value: unknown): value is Key {
  return typeof value === 'string' && form.test(value)
}

/** What an entry of a flag's metadata may be called. */
export const MetadataName = Type.String({
  pattern: `^${notInherited}[^\\u0000-\\u001f]{1,100}$`,
  description: '1 to 100 characters, none of them a control character, and no name that every JavaScript object has, such as "constructor"'
})

/** A field that the store keeps; sent, it is ignored, so that what was read can be sent back. */
export const Kept = Type.String({ description: 'a text; it is kept by the store, so leave it out' })
