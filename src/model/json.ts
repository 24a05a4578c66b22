import type { ErrorDetail } from '../errors.js'

/** Any JSON value. */
export type JsonValue = boolean | string | number | null | JsonValue[] | { [key: string]: JsonValue }

/** A value's JSON type, arrays apart from objects. */
export type JsonType = 'boolean' | 'string' | 'number' | 'null' | 'array' | 'object'

export function jsonTypeOf (value: unknown): JsonType | undefined {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  const type = typeof value
  return type === 'boolean' || type === 'string' || type === 'number' || type === 'object' ? type : undefined
}

/** How deep lists and objects may nest in one another in a text. */
const maxDepth = 100

/** A field's place as a JSON pointer (RFC 6901), given the place of what it is in. */
export function pointer (parent: string, name: string | number): string {
  return `${parent}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

interface Frame { list: boolean, count: number, name: string, names: Set<string> }

const token = /([{}[\],:])|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)/y
const blank = /[ \t\n\r]*/y

/**
 * Parses what a person or a program wrote: a request's body or a file. Beyond `JSON.parse` it tells line and column of what
 * is wrong, and refuses what would be read differently from what was meant: a field that stands twice, a number too large
 * for one, `__proto__`, and nesting deeper than 100. Details of all but syntax and nesting carry the field's path; a byte order mark is skipped.
 */
export function parseJson (source: string): { value: JsonValue } | { details: ErrorDetail[] } {
  const text = source.startsWith('\uFEFF') ? source.slice(1) : source
  const value = parsePlain(text)
  if (value !== undefined) return { value }
  const details = scan(text)
  return details.length > 0 ? { details } : { value: JSON.parse(text) }
}

/** The value of a text in which nothing is refused, in a quarter of the time; else undefined, and `scan` tells what is wrong. */
function parsePlain (text: string): JsonValue | undefined {
  try {
    const value: JsonValue = JSON.parse(text)
    return fieldsOf(value, 0) === colonsOf(text) ? value : undefined // of fields that stand twice JSON.parse keeps one
  } catch {
    return undefined
  }
}

/** How many fields the objects of a value have in all; NaN when anything but a repeated field is refused. */
function fieldsOf (value: JsonValue, depth: number): number {
  if (typeof value === 'number') return Number.isFinite(value) ? 0 : NaN
  if (typeof value !== 'object' || value === null) return 0
  if (depth === maxDepth) return NaN
  let fields = 0
  if (Array.isArray(value)) {
    for (const item of value) fields += fieldsOf(item, depth + 1)
  } else {
    for (const name in value) fields += name === '__proto__' ? NaN : 1 + fieldsOf(value[name]!, depth + 1)
  }
  return fields
}

/** How many fields are written in a text that is JSON: there is a colon for each, and no other but in strings. */
function colonsOf (text: string): number {
  const bytes = Buffer.from(text) // a text's characters take V8 ten times as long, once it has seen texts of many kinds here
  let colons = 0
  let isInString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === 0x22) isInString = !isInString
    else if (isInString) i += byte === 0x5c ? 1 : 0 // what a backslash escapes may be a quote
    else if (byte === 0x3a) colons++
  }
  return colons
}

/** Reads the text token by token, with its own stack, so that no depth overflows the call stack. Stops at a syntax error. */
function scan (text: string): ErrorDetail[] {
  const details: ErrorDetail[] = []
  const frames: Frame[] = []
  const path = () => frames.reduce((path, { list, count, name }) => pointer(path, list ? count : name), '')
  let line = 1
  let lineStart = 0
  const where = (position: number) => {
    for (let end = text.indexOf('\n', lineStart); end !== -1 && end < position; end = text.indexOf('\n', lineStart)) {
      line++
      lineStart = end + 1
    }
    return `line ${line}, column ${position - lineStart + 1}`
  }
  const report = (place: () => string, position: number, message: string) => {
    if (details.length < 100) details.push({ path: place(), message: `${message} (${where(position)})` })
  }
  const whole = () => ''

  let expecting: 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or end' = 'value'
  token.lastIndex = 0
  for (;;) {
    blank.lastIndex = token.lastIndex
    blank.test(text)
    const start = blank.lastIndex
    const frame = frames.at(-1)
    if (start === text.length && frame === undefined && expecting === ', or end') return details
    const string = text[start] === '"' ? stringAt(text, start) : undefined
    token.lastIndex = start
    const [, mark, number, word] = string === undefined ? token.exec(text) ?? [] : []
    if (string !== undefined) token.lastIndex = start + string.length

    if (expecting === ':' && mark === ':') {
      expecting = 'value'
    } else if (expecting.startsWith('name') && string !== undefined) {
      const name: string = JSON.parse(string)
      frame!.name = name.slice(0, 1000) // it stands in the path of each fault inside
      if (name === '__proto__') report(path, start, 'must not be called "__proto__": choose another name')
      else if (frame!.names.has(name)) report(path, start, 'stands twice in the same object: keep one of the two')
      frame!.names.add(name)
      expecting = ':'
    } else if (expecting.startsWith('value') && (mark === '{' || mark === '[')) {
      if (frames.length === maxDepth) {
        report(whole, start, `lists and objects nest deeper than ${maxDepth}: flatten the document`)
        return details
      }
      frames.push({ list: mark === '[', count: 0, name: '', names: new Set() })
      expecting = mark === '[' ? 'value or ]' : 'name or }'
    } else if (expecting.startsWith('value') && (string ?? number ?? word) !== undefined) {
      if (number !== undefined && !Number.isFinite(Number(number))) report(path, start, `is a number too large to keep: ${number.slice(0, 40)}`)
      expecting = ', or end'
    } else if (expecting === ', or end' && mark === ',' && frame !== undefined) {
      frame.count++
      expecting = frame.list ? 'value' : 'name'
    } else if (closes(mark, frame) && (expecting === ', or end' || expecting.endsWith(mark!))) {
      frames.pop()
      expecting = ', or end'
    } else {
      report(whole, start, syntaxError(text, start, expecting, frame))
      return details
    }
  }
}

/** The string that begins at `start`, with its quotes, or undefined when it is no JSON string. (One regular expression overflows on a long one.) */
function stringAt (text: string, start: number): string | undefined {
  let end = start
  let escapes = 0
  do {
    end = text.indexOf('"', end + 1)
    if (end === -1) return undefined
    for (escapes = 0; text[end - 1 - escapes] === '\\';) escapes++
  } while (escapes % 2 === 1)
  const string = text.slice(start, end + 1)
  try {
    JSON.parse(string)
    return string
  } catch {
    return undefined
  }
}

function closes (mark: string | undefined, frame: Frame | undefined): boolean {
  return frame !== undefined && mark === (frame.list ? ']' : '}')
}

/** One sentence on what stands at `start` and what should. */
function syntaxError (text: string, start: number, expecting: string, frame: Frame | undefined): string {
  if (text.length === 0 || (start === text.length && frame === undefined)) return 'the text is empty; JSON such as {} is needed'
  const wanted = expecting === ', or end'
    ? frame === undefined ? 'nothing more' : `"," or "${frame.list ? ']' : '}'}"`
    : expecting === ':' ? '":"' : expecting.startsWith('name') ? 'a field\'s name in double quotes' : 'a value'
  const end = expecting === 'name or }' ? ' or "}"' : expecting === 'value or ]' ? ' or "]"' : ''
  if (start === text.length) return `the text ends where ${wanted}${end} is needed`
  const here = text.slice(start)
  if (here.startsWith('//') || here.startsWith('/*')) return 'comments are not allowed in JSON: remove it'
  if (here.startsWith("'")) return 'texts and names stand in double quotes, not single ones'
  if (here.startsWith('"') && (wanted === 'a value' || expecting.startsWith('name'))) return 'a text is not closed, or holds a line break or an escape that JSON does not know'
  if ((here.startsWith('}') || here.startsWith(']')) && (expecting === 'name' || (expecting === 'value' && frame?.list === true))) return `a comma must not stand before "${here[0]}": remove it`
  return `${here.startsWith('"') ? 'a text' : `"${String.fromCodePoint(here.codePointAt(0)!)}"`} stands where ${wanted}${end} is needed`
}
