import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Flags } from '../../src/flags.js'
import type { Flag } from '../../src/model/flag.js'
import { Replica } from '../../src/replica.js'
import { MemoryStore } from '../../src/store/memory.js'
import { conditionsAndPercentage, HandWritten, listed, onOff, percentage, split, type Context, type Flag as ByHand } from './hand-written.js'
import { compare, row, type Row } from './measure.js'

const people = 1024
const calls = 20_000

const contexts: Context[] = Array.from({ length: people }, (_, i) => ({
  targetingKey: randomUUID(), groups: ['g1', 'g2'], region: i % 2 === 0 ? 'eu' : 'us', plan: ['free', 'pro', 'enterprise'][i % 3]!, age: 20 + i % 60, country: ['de', 'fr', 'us'][Math.floor(i / 3) % 3]!
}))
const strangers = Array.from({ length: 10_000 }, () => randomUUID())
const insiders = [...strangers.slice(people), ...contexts.map(({ targetingKey }) => targetingKey)]
const weights = { control: 34, compact: 33, wide: 33 }
const payloads = { control: { layout: 'old', columns: 2 }, compact: { layout: 'compact', columns: 1 }, wide: { layout: 'wide', columns: 4 } }
const when = { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'enterprise'] }, { attribute: 'age', operator: 'gte', value: 30 }, { attribute: 'country', operator: 'ne', value: 'us' }] }

/** The same texts as other strings, as everything is that came as JSON: they have to be compared, not just recognised. */
const parsed = (list: string[]): string[] => JSON.parse(JSON.stringify(list))

/** Each kind of flag, as a document and by hand. */
const kinds: Record<string, { flag: Flag, byHand: (key: string) => ByHand }> = {
  on: { flag: { enabled: true }, byHand: () => onOff(true) },
  off: { flag: { enabled: false }, byHand: () => onOff(false) },
  hit: { flag: { enabled: true, serve: 'off', targets: [{ users: insiders }] }, byHand: () => listed(parsed(insiders)) },
  miss: { flag: { enabled: true, serve: 'off', targets: [{ users: strangers }] }, byHand: () => listed(parsed(strangers)) },
  quarter: { flag: { enabled: true, serve: { percentage: 25 } }, byHand: (key) => percentage(key, 25) },
  rule: { flag: { enabled: true, serve: 'off', rules: [{ when, serve: { percentage: 25 } }] } as Flag, byHand: (key) => conditionsAndPercentage(key, ['pro', 'enterprise'], 30, 'us', 25) },
  variants: { flag: { enabled: true, variants: payloads, offVariant: 'control', serve: { split: weights } }, byHand: (key) => split(key, weights, payloads) }
}

/** Ours and by hand, holding the same flags. */
async function load (keys: Map<string, string>): Promise<{ people: Flags[], byHand: HandWritten, close: () => Promise<void> }> {
  const store = new MemoryStore()
  let epoch: string | null = null
  for (const [key, kind] of keys) {
    await store.write({ kind: 'flag', key, document: JSON.stringify(kinds[kind]!.flag), expected: 0, epoch, by: null, id: key })
    epoch ??= (await store.read()).position.epoch
  }
  const replica = new Replica({ store })
  await replica.start()
  const byHand = new HandWritten(new Map([...keys].map(([key, kind]) => [key, kinds[kind]!.byHand(key)])))
  return { people: contexts.map((context) => new Flags(replica, 'production', { ...context })), byHand, close: () => replica.close() }
}

export async function evaluation (): Promise<Row[]> {
  const few = await load(new Map(Object.keys(kinds).map((kind) => [kind, kind])))
  const small = Object.keys(kinds).filter((kind) => !['hit', 'miss'].includes(kind))
  const keys = Array.from({ length: 1000 }, (_, i) => `flag-${i}`)
  const thousand = await load(new Map(keys.map((key, i) => [key, small[i % small.length]!])))
  const booleans = keys.filter((_, i) => small[i % small.length] !== 'variants')
  try {
    const isEnabled = (key: string) => [
      () => { let on = 0; for (let i = 0; i < calls; i++) if (few.people[i % people]!.isEnabled(key)) on++; return on },
      () => { let on = 0; for (let i = 0; i < calls; i++) if (few.byHand.isEnabled(key, contexts[i % people]!)) on++; return on }
    ] as const
    const none = { layout: '', columns: 0 }
    const columns = [
      () => { let sum = 0; for (let i = 0; i < calls; i++) sum += few.people[i % people]!.getValue('variants', none).columns as number; return sum },
      () => { let sum = 0; for (let i = 0; i < calls; i++) sum += few.byHand.getValue('variants', contexts[i % people]!, none).columns; return sum }
    ] as const
    const anyOf = (keys: string[]) => [
      () => { let on = 0; for (let i = 0; i < calls; i++) if (thousand.people[i % people]!.isEnabled(keys[i % keys.length]!)) on++; return on },
      () => { let on = 0; for (let i = 0; i < calls; i++) if (thousand.byHand.isEnabled(keys[i % keys.length]!, contexts[i % people]!)) on++; return on }
    ] as const
    const all = [
      () => { let sum = 0; for (let i = 0; i < 10; i++) sum += 'flag-0' in thousand.people[i]!.getAll() ? 1 : 0; return sum },
      () => { let sum = 0; for (let i = 0; i < 10; i++) sum += 'flag-0' in thousand.byHand.getAll(contexts[i]!) ? 1 : 0; return sum }
    ] as const

    // Everything often, so that no bench runs on code that has seen only its own flag; and time for V8 to optimise beside it.
    for (let i = 0; i < 20; i++) {
      for (const kind of Object.keys(kinds)) for (const side of isEnabled(kind)) side()
      for (const side of [...columns, ...anyOf(booleans), ...anyOf(keys), ...all]) side()
      await setTimeout(50)
    }

    return [
      compare('isEnabled, on', 1.5, calls, ...isEnabled('on')),
      compare('isEnabled, off', 1.5, calls, ...isEnabled('off')),
      compare('isEnabled, in a list of 10,000', 1.5, calls, ...isEnabled('hit')),
      compare('isEnabled, not in a list of 10,000', 1.5, calls, ...isEnabled('miss')),
      compare('isEnabled, 25 %', 1.5, calls, ...isEnabled('quarter')),
      compare('isEnabled, three conditions and 25 %', 1.5, calls, ...isEnabled('rule')),
      compare('getValue, three variants with a payload', 2, calls, ...columns),
      compare('isEnabled, any boolean one of 1,000 flags', 1.5, calls, ...anyOf(booleans)),
      // A fifth of them draw among three variants, which alone may take twice as long.
      compare('isEnabled, any of 1,000 flags', (4 * 1.5 + 2) / 5, calls, ...anyOf(keys)),
      compare('getAll of 1,000 flags', 1.5, 10, ...all),
      ...Object.keys(kinds).map((kind) => allocated(`bytes allocated a call, ${kind}`, isEnabled(kind)[0])),
      allocated('bytes allocated a call, getValue', columns[0])
    ]
  } finally {
    await few.close()
    await thousand.close()
  }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** The limit is less than a byte: nothing. */
function allocated (name: string, work: () => unknown): Row {
  work()
  const least = Math.min(...Array.from({ length: 5 }, () => {
    collect()
    const before = process.memoryUsage().heapUsed
    work()
    return Math.abs(process.memoryUsage().heapUsed - before) / calls
  }))
  return row(name, least, 1, 1, 'B')
}
