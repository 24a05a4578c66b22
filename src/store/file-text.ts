import type { Kind } from './store.js'

interface Member {
  /** White space before the name. */
  lead: string
  /** The name in quotes, the colon, and white space around it. */
  name: string
  /** The value as it is written. */
  value: string
}

interface ObjectText {
  members: Map<string, Member>
  /** White space before the closing brace. */
  tail: string
}

const sections = { flag: 'flags', segment: 'segments' } as const

/**
 * The text of a flags file, `{ "flags": { … }, "segments": { … }, … }`, cut into its documents: one can be set or removed, and
 * everything else stays as a person wrote it. It must be known to be JSON, with objects in these places.
 */
export class FlagsText {
  readonly #top: ObjectText
  readonly #sections: Partial<Record<Kind, ObjectText>> = {}
  readonly #before: string
  readonly #after: string

  constructor (text: string) {
    const start = text.indexOf('{')
    const { object, end } = readObject(text, start)
    this.#top = object
    this.#before = text.slice(0, start)
    this.#after = text.slice(end)
    for (const kind of ['flag', 'segment'] as const) {
      const section = object.members.get(sections[kind])
      if (section !== undefined) this.#sections[kind] = readObject(section.value, 0).object
    }
  }

  /** Each document as it is written, in the order of the file. */
  * documents (): Generator<{ kind: Kind, key: string, text: string }> {
    for (const kind of ['flag', 'segment'] as const) {
      for (const [key, { value }] of this.#sections[kind]?.members ?? []) yield { kind, key, text: value }
    }
  }

  get (kind: Kind, key: string): string | undefined {
    return this.#sections[kind]?.members.get(key)?.value
  }

  /** Sets a document (JSON text, written with two spaces), at its place or at the end of its section; null removes it. */
  set (kind: Kind, key: string, document: string | null): void {
    if (document === null) {
      this.#sections[kind]?.members.delete(key)
      return
    }
    const section = this.#sections[kind] ??= this.#begin(sections[kind])
    const current = section.members.get(key)
    const lead = current?.lead ?? this.#place(section)
    const value = JSON.stringify(JSON.parse(document), null, 2).replaceAll('\n', '\n' + indentOf(lead))
    section.members.set(key, { lead, name: current?.name ?? `${JSON.stringify(key)}: `, value })
  }

  toString (): string {
    for (const kind of ['flag', 'segment'] as const) {
      const section = this.#sections[kind]
      if (section !== undefined) this.#top.members.get(sections[kind])!.value = written(section)
    }
    return this.#before + written(this.#top) + this.#after
  }

  #begin (name: string): ObjectText {
    const last = [...this.#top.members.values()].at(-1)
    const lead = last?.lead.includes('\n') ? last.lead : '\n  '
    this.#top.members.set(name, { lead, name: `${JSON.stringify(name)}: `, value: '{}' })
    if (!this.#top.tail.includes('\n')) this.#top.tail = '\n'
    return { members: new Map(), tail: '\n' + indentOf(lead) }
  }

  /** The white space before one more document: like its neighbour's, each on a line of its own. */
  #place (section: ObjectText): string {
    for (const { lead } of section.members.values()) {
      if (lead.includes('\n')) return '\n' + indentOf(lead)
    }
    for (const member of section.members.values()) member.lead = '\n    '
    if (!section.tail.includes('\n')) section.tail = '\n  '
    return '\n    '
  }
}

function indentOf (space: string): string {
  return space.slice(space.lastIndexOf('\n') + 1)
}

function written ({ members, tail }: ObjectText): string {
  return '{' + [...members.values()].map(({ lead, name, value }) => lead + name + value).join(',') + (members.size === 0 ? '' : tail) + '}'
}

const blank = /[ \t\n\r]*/y
const bare = /[^ \t\n\r,\]}]*/y
const structural = /["{}[\]]/g

function readObject (text: string, start: number): { object: ObjectText, end: number } {
  const members = new Map<string, Member>()
  let at = start + 1
  for (;;) {
    const nameAt = skip(blank, text, at)
    if (text[nameAt] === '}') return { object: { members, tail: text.slice(at, nameAt) }, end: nameAt + 1 }
    const nameEnd = endOfString(text, nameAt)
    const valueAt = skip(blank, text, skip(blank, text, nameEnd) + 1)
    const valueEnd = endOfValue(text, valueAt)
    members.set(JSON.parse(text.slice(nameAt, nameEnd)) as string, {
      lead: text.slice(at, nameAt), name: text.slice(nameAt, valueAt), value: text.slice(valueAt, valueEnd)
    })
    const next = skip(blank, text, valueEnd)
    at = text[next] === ',' ? next + 1 : valueEnd
  }
}

function endOfValue (text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start)
  if (text[start] !== '{' && text[start] !== '[') return skip(bare, text, start)
  let depth = 0
  structural.lastIndex = start
  for (;;) {
    const { index, 0: mark } = structural.exec(text)!
    if (mark === '"') structural.lastIndex = endOfString(text, index)
    else if (mark === '{' || mark === '[') depth++
    else if (--depth === 0) return index + 1
  }
}

function endOfString (text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0
    while (text[end - 1 - escapes] === '\\') escapes++
    if (escapes % 2 === 0) return end + 1
  }
}

function skip (what: RegExp, text: string, from: number): number {
  what.lastIndex = from
  what.test(text)
  return what.lastIndex
}
