import { hash } from 'node:crypto'

/** What the answers of this version look like; to be changed with them. */
const format = 'ofrep 1'

/**
 * A strong ETag of all that an answer is made of: hashing that costs a hundredth of evaluating a thousand flags.
 * `inputs` may not hold a line break.
 */
export function etagOf (inputs: readonly string[], context: unknown): string {
  const text = `${format}\n${inputs.join('\n')}\n${canonical(context, 0)}`
  return `"${hash('sha256', text, 'base64url').slice(0, 22)}"`
}

/** Deeper than any attribute that a condition can name. */
const deepest = 110

/** A context as one text, whatever the order of its fields. */
function canonical (value: unknown, depth: number): string {
  if (typeof value === 'string') return measured(value)
  if (typeof value !== 'object') return String(value)
  if (value === null) return 'null'
  if (value instanceof Date) return `date ${value.getTime()}`
  if (depth === deepest) return 'deeper'
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`
  let text = '{'
  for (const name of Object.keys(value).sort()) {
    const part: unknown = value[name as keyof typeof value]
    if (part !== undefined) text += `${measured(name)}=${canonical(part, depth + 1)},`
  }
  return text + '}'
}

/** A text behind its length, which costs less than to quote it. Lone surrogates would all be hashed as one. */
function measured (text: string): string {
  return text.isWellFormed() ? `${text.length}:${text}` : JSON.stringify(text)
}

const tag = /(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g

/** Whether If-None-Match names an ETag: alone, in a list, weakly, or with `*`. What cannot be read names none. */
export function isNamed (etag: string, header: string | undefined): boolean {
  if (header === undefined) return false
  if (header === etag || header.trim() === '*') return true
  for (const [, one] of header.matchAll(tag)) if (one === etag) return true
  return false
}
