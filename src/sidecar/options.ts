import { parseArgs } from 'node:util'
import { nearest } from '../model/nearest.js'
import { UsageError } from './failures.js'

export type Env = Readonly<Record<string, string | undefined>>

/** One option of a command. `value` names what follows it (left out: nothing does); `env` are the variables that stand in for it, the first that is set. */
export interface Option {
  readonly value?: string
  readonly env: readonly string[]
  readonly help: string
}

/** An option's text and where it came from: `--port`, or a variable's name. */
export interface Given { text: string, from: string }

/** Reads options strictly, then the variables of those left out. An empty variable counts as not set. */
export function readOptions (table: Readonly<Record<string, Option>>, argv: readonly string[], env: Env): Map<string, Given> {
  const given = new Map<string, Given>()
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false, // its own messages cannot say what was meant
    tokens: true,
    options: Object.fromEntries(Object.entries(table).map(([name, { value }]) => [name, { type: value === undefined ? 'boolean' : 'string' }]))
  })
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') throw new UsageError(`"${token.value}" is one word too many; options begin with --`)
    const { name, rawName, value, inlineValue } = token
    const option = Object.hasOwn(table, name) ? table[name] : undefined
    if (option === undefined) throw unknownOption(rawName, name, Object.keys(table))
    if (given.has(name)) throw new UsageError(`${rawName} is given twice`)
    if (option.value === undefined) {
      if (value !== undefined) throw new UsageError(`${rawName} takes no value; write ${rawName} alone`)
      given.set(name, { text: 'true', from: rawName })
    } else {
      if (value === undefined || value === '' || (!inlineValue && value.startsWith('-'))) throw new UsageError(`${rawName} needs a value: ${rawName} ${option.value}`)
      given.set(name, { text: value, from: rawName })
    }
  }
  for (const [name, { value, env: variables }] of Object.entries(table)) {
    const variable = variables.find((variable) => env[variable])
    if (variable === undefined || given.has(name)) continue
    const text = env[variable]!
    if (value !== undefined) given.set(name, { text, from: variable })
    else if (/^(?:true|1|yes|on)$/i.test(text)) given.set(name, { text: 'true', from: variable })
    else if (!/^(?:false|0|no|off)$/i.test(text)) throw new UsageError(`${variable} is "${text}"; set it to true or false`)
  }
  return given
}

function unknownOption (rawName: string, name: string, known: string[]): UsageError {
  if (/token|secret|password/i.test(name)) {
    const variable = /read/i.test(name) ? 'FLAGS_READ_TOKENS' : /eval/i.test(name) ? 'FLAGS_EVALUATION_TOKENS' : /browser/i.test(name) ? 'FLAGS_BROWSER_TOKENS' : 'FLAGS_ADMIN_TOKENS'
    return new UsageError(`${rawName} is no option: every user of this machine can read a command line, so secrets stand in the environment only; set ${variable}=name=secret`)
  }
  const meant = nearest(name, known)
  return new UsageError(`there is no option ${rawName}${meant === undefined ? '' : `; did you mean --${meant}?`}`)
}
