import type { Flag } from '../../model/flag.js'
import { jsonTypeOf, type JsonValue } from '../../model/json.js'
import { variantsOf } from '../../model/meaning.js'
import { everyFlag } from '../client.js'
import type { Call } from '../commands.js'
import { withClient } from '../with-client.js'

export async function types ({ given, terminal }: Call): Promise<void> {
  await withClient({ given, terminal }, async (client) => {
    const lines: string[] = []
    for await (const flag of everyFlag(client)) {
      if (flag.description !== undefined) lines.push(`/** ${flag.description.replaceAll(/\s+/g, ' ').replaceAll('*/', '* /')} */`)
      lines.push(`'${flag.key}': ${typeOfFlag(flag)}`)
    }
    await terminal.out(`// Written by fastify-flags types; write it anew when flags come, go or change their kind of value.
export {} // a module, which adds to that of fastify-flags

declare module 'fastify-flags' {
  interface FlagTypes {
${lines.map((line) => `    ${line}\n`).join('')}  }
}
`)
  })
}

export function typeOfFlag (flag: Flag): string {
  return typeOf([...variantsOf(flag).values()])
}

/** A type that all the values have: of objects, the fields that any has, optional where one lacks them. */
function typeOf (values: readonly JsonValue[]): string {
  const kinds = [...new Set(values.map(jsonTypeOf))]
  return kinds.map((kind) => {
    if (kind === 'array') return arrayOf((values.filter((value) => Array.isArray(value)) as JsonValue[][]).flat())
    if (kind === 'object') return objectOf(values.filter((value) => jsonTypeOf(value) === 'object') as Array<Record<string, JsonValue>>)
    return String(kind)
  }).join(' | ')
}

function arrayOf (items: readonly JsonValue[]): string {
  if (items.length === 0) return 'unknown[]'
  const type = typeOf(items)
  return type.includes(' | ') ? `Array<${type}>` : `${type}[]`
}

function objectOf (objects: ReadonlyArray<Record<string, JsonValue>>): string {
  const names = [...new Set(objects.flatMap((object) => Object.keys(object)))]
  const fields = names.map((name) => {
    const having = objects.filter((object) => Object.hasOwn(object, name))
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)
    return `${key}${having.length < objects.length ? '?' : ''}: ${typeOf(having.map((object) => object[name]!))}`
  })
  return fields.length === 0 ? 'Record<string, never>' : `{ ${fields.join(', ')} }`
}
