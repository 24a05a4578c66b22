import type { EvaluationContext } from '../../model/context.js'
import type { Call } from '../commands.js'
import { UsageError } from '../failures.js'
import type { Given } from '../options.js'
import { tellExplanation } from '../tell-explanation.js'
import { withClient } from '../with-client.js'

export async function explain ({ words: [key], given, terminal }: Call): Promise<void> {
  const context = contextOf(given)
  await withClient({ given, terminal, key }, async (client) => {
    const explanation = await client.explain(key!, context, given.get('environment')?.text)
    await terminal.out(given.has('json') ? JSON.stringify(explanation) + '\n' : tellExplanation(explanation, context, terminal))
  })
}

/** Attributes are texts, as in a query: conditions read numbers from them. */
function contextOf (given: Map<string, Given>): EvaluationContext {
  const context: Record<string, string | string[]> = {}
  for (const text of given.get('attribute')?.texts ?? []) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
    if (name === undefined || value === undefined) throw new UsageError(`--attribute is "${text}"; write it as --attribute name=value`)
    const option = { user: '--user', targetingKey: '--user', groups: '--group', region: '--region' }[name]
    if (option !== undefined) throw new UsageError(`${name} is no attribute like others; use ${option}`)
    const before = Object.hasOwn(context, name) ? context[name]! : undefined
    const next = before === undefined ? value : [before, value].flat()
    Object.defineProperty(context, name, { value: next, enumerable: true, configurable: true, writable: true }) // any name, __proto__ too
  }
  const user = given.get('user')?.text
  const region = given.get('region')?.text
  const groups = given.get('group')?.texts
  return { ...context, ...user !== undefined && { targetingKey: user }, ...region !== undefined && { region }, ...groups !== undefined && { groups: [...groups] } }
}
