import { parseArgs } from 'node:util'
import { nearest } from '../model/nearest.js'
import { UsageError } from './failures.js'
import { variableMeant } from './token-settings.js'

export type Env = Readonly<Record<string, string | undefined>>

/**
 * One option of a command. `value` names what follows it (left out: nothing does), and `many` lets it stand more than once;
 * `env` are the variables that stand in for it, the first that is set.
 */
export interface Option {
  readonly value?: string
  readonly many?: true
  readonly env: readonly string[]
  readonly help: string
}

/** An option's text, or the texts of one that may stand more than once, and where they came from: `--port`, or a variable's name. */
export interface Given { text: string, texts: readonly string[], from: string }

/** Reads options strictly, then the variables of those left out. An empty variable counts as not set. */
export function readOptions (table: Readonly<Record<string, Option>>, argv: readonly string[], env: Env): Map<string, Given> {
  return readLine(table, [], argv, env).given
}

/** Reads a command's words and its options. `names` are the words that are taken, in square brackets those that may be left out. */
export function readLine (table: Readonly<Record<string, Option>>, names: readonly string[], argv: readonly string[], env: Env): { words: string[], given: Map<string, Given> } {
  const given = new Map<string, Given>()
  const words: string[] = []
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false, // its own messages cannot say what was meant
    tokens: true,
    options: Object.fromEntries(Object.entries(table).map(([name, { value }]) => [name, { type: value === undefined ? 'boolean' : 'string' }]))
  })
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      if (words.length === names.length) throw new UsageError(`"${token.value}" is one word too many; options begin with --`)
      words.push(token.value)
      continue
    }
    const { name, rawName, value, inlineValue } = token
    const option = Object.hasOwn(table, name) ? table[name] : undefined
    if (option === undefined) throw unknownOption(rawName, name, table)
    const before = given.get(name)
    if (before !== undefined && option.many === undefined) throw new UsageError(`${rawName} is given twice`)
    if (option.value === undefined) {
      if (value !== undefined) throw new UsageError(`${rawName} takes no value; write ${rawName} alone`)
      given.set(name, { text: 'true', texts: ['true'], from: rawName })
    } else {
      if (value === undefined || value === '' || (!inlineValue && value.startsWith('-'))) throw new UsageError(`${rawName} needs a value: ${rawName} ${option.value}`)
      given.set(name, { text: value, texts: [...before?.texts ?? [], value], from: rawName })
    }
  }
  for (const [name, { value, env: variables }] of Object.entries(table)) {
    const variable = variables.find((variable) => env[variable])
    if (variable === undefined || given.has(name)) continue
    const text = env[variable]!
    if (value !== undefined) given.set(name, { text, texts: [text], from: variable })
    else if (/^(?:true|1|yes|on)$/i.test(text)) given.set(name, { text: 'true', texts: ['true'], from: variable })
    else if (!/^(?:false|0|no|off)$/i.test(text)) throw new UsageError(`${variable} is "${text}"; set it to true or false`)
  }
  const missing = names.find((name, index) => index >= words.length && !name.startsWith('['))
  if (missing !== undefined) throw new UsageError(`${missing} is missing`)
  return { words, given }
}

/** Of options that exclude each other the one that counts: what the command line says goes before the environment, and there what is ours before what others set too. */
export function chosen<Name extends string> (given: Map<string, Given>, names: readonly Name[], what: string): Given & { name: Name } | undefined {
  const named = names.flatMap((name) => given.has(name) ? [{ name, ...given.get(name)! }] : [])
  const rank = ({ from }: Given) => from.startsWith('-') ? 2 : from.startsWith('FLAGS_') ? 1 : 0
  const best = Math.max(...named.map(rank))
  const [one, other] = named.filter((each) => rank(each) === best)
  if (one !== undefined && other !== undefined) throw new UsageError(`${one.from} and ${other.from} name two ${what}; leave one of them out`)
  return one
}

function unknownOption (rawName: string, name: string, table: Readonly<Record<string, Option>>): UsageError {
  if (/token|secret|password/i.test(name)) {
    const setting = 'url' in table ? 'FLAGS_TOKEN=secret' : `${variableMeant(name)}=name=secret`
    return new UsageError(`${rawName} is no option: every user of this machine can read a command line, so secrets stand in the environment only; set ${setting}`)
  }
  const meant = nearest(name, Object.keys(table))
  return new UsageError(`there is no option ${rawName}${meant === undefined ? '' : `; did you mean --${meant}?`}`)
}
