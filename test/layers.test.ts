import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Fastify from 'fastify'
import fc from 'fast-check'
import t from 'tap'
import { staleness } from '../src/admin/stale.js'
import { affectedBy } from '../src/evaluation/affected.js'
import { foldFor, hash } from '../src/evaluation/bucket.js'
import { explain } from '../src/evaluation/explain.js'
import { Layer } from '../src/evaluation/layers.js'
import { FlagEntry, type Snapshot } from '../src/evaluation/snapshot.js'
import { FastifyFlags } from '../src/facade.js'
import flags, { type Flag } from '../src/index.js'
import type { EvaluationContext } from '../src/model/context.js'
import { experimentOf } from '../src/model/experiment.js'
import { membershipsOf } from '../src/model/layer.js'
import { describe } from '../src/sidecar/describe.js'
import { tellExplanation } from '../src/sidecar/tell-explanation.js'
import { MemoryStore } from '../src/store/memory.js'
import { startAdmin } from './helpers/admin.js'
import { ask, snapshotOf, subjectOf, type Documents } from './helpers/evaluate.js'
import { makeFolder } from './helpers/folder.js'

const users = Array.from({ length: 100_000 }, (_, i) => `user-${i}`)
const some = users.slice(0, 2000)

const split = { variants: ['a', 'b'], serve: { split: { a: 1, b: 1 } } }
const member = (experiment: Flag['experiment'], more: Partial<Flag> = {}): Flag => ({ enabled: true, ...split, experiment: { layer: 'checkout', ...experiment }, ...more })

/** The layer `checkout` in production. */
const layerOf = (flags: Record<string, Flag>) => snapshotOf({ flags }).layers.in('production', 'checkout')
const holdersOf = (flags: Record<string, Flag>, of = users) => {
  const layer = layerOf(flags)
  return of.map((user) => layer.holderOf(user))
}
const shareOf = <T>(list: readonly T[], holds: (item: T, index: number) => boolean) => list.reduce((count, item, index) => count + (holds(item, index) ? 1 : 0), 0) / list.length

/** Within five standard deviations. */
const isNear = (share: number, expected: number, of = users.length) => Math.abs(share - expected) < 5 * Math.sqrt(expected * (1 - expected) / of)

const answer = (documents: Documents | Snapshot, key: string, context: EvaluationContext) => ask(key, subjectOf(documents, context))

t.test('slots and their holders are pinned, to the bit', async (t) => {
  // Made by another implementation (Python, mmh3 5.3.1, with exact logarithms); a change here moves units.
  const values = ['u', 'user_123', 'ab', 'abc', 'abcd', '7f6c1b9e-0f3a-4a7e-9a55-0c2f1f6f3c11', 'é', '日本語', 'a😀b', 'ünïcödé-user', 'a'.repeat(257)]
  const pinned = {
    checkout: [138019659, 4045812141, 3288579319, 2780868012, 2689496872, 1089789076, 1719646291, 2889949877, 273134304, 1971529489, 2838643884],
    слой: [2304184597, 1135779292, 3808976010, 1027626715, 1937378231, 1272308906, 1840544737, 1322619656, 2494481398, 1402233692, 859126156]
  }
  for (const [layer, hashes] of Object.entries(pinned)) {
    const { state, length } = foldFor(layer, 'layer')
    t.same(values.map((value) => hash(state, length, value) >>> 0), hashes)
  }
  const holders = holdersOf({ notice: member({ range: [0, 25] }), search: member({ range: [40, 70], holdout: 10 }), alpha: member({ holdout: 5 }), basket: member({}) }, users.slice(0, 64))
  t.equal(holders.map((holder) => holder?.[0] ?? '-').join(''), 'nnbannssasnnbasnssssnsnbb--aanssn-bsbsabbasnbasassanabbbbsnbbbb-')
})

t.test('each member gets the share that it says, an even one if it says none, and the holdout is nobody\'s', async (t) => {
  const holders = holdersOf({ a: member({ range: [0, 20] }), b: member({ range: [20, 50], holdout: 10 }), c: member({ holdout: 2 }), d: member({}) })
  for (const [holder, share] of [['a', 0.2], ['b', 0.3], ['c', 0.2], ['d', 0.2], [undefined, 0.1]] as const) {
    const actual = shareOf(holders, (one) => one === holder)
    t.ok(isNear(actual, share), `${holder}: ${actual}`)
  }
  t.same([...new Set(holdersOf({ a: member({}) }, some))], ['a'], 'a member alone has all of its layer')
  t.same([...new Set(holdersOf({ a: member({ holdout: 100 }) }, some))], [undefined])
  t.ok(isNear(shareOf(holdersOf({ a: member({ range: [99.9, 100] }) }), (one) => one === 'a'), 0.001))
})

t.test('a slot says nothing of what a flag draws, nor of other layers', async (t) => {
  const flag = { ...member({ range: [0, 50] }), serve: { split: { a: 1, b: 1 }, percentage: 50, seed: 'checkout' } }
  const alone = { ...flag, experiment: {} }
  const other = new Layer('search', membershipsOf('x', member({ range: [0, 50] })))
  const own = layerOf({ x: flag })
  const snapshot = snapshotOf({ flags: { alone } })
  const isIn = users.map((user) => own.holderOf(user) === 'x')
  const hits = users.map((user) => ask('alone', subjectOf(snapshot, { targetingKey: user })).details)
  for (const [name, share] of [
    ['taking part', shareOf(hits, ({ flagMetadata }, i) => isIn[i]! && flagMetadata.cause === 'split')],
    ['another layer', shareOf(users, (user, i) => isIn[i]! && other.holderOf(user) === 'x')]
  ] as const) t.ok(isNear(share, 0.25), `${name}: ${share}`)
  t.ok(isNear(shareOf(hits, ({ variant, flagMetadata }, i) => isIn[i]! && flagMetadata.cause === 'split' && variant === 'b'), 0.125), 'the variant')
})

t.test('who joins with a range among ranges, is switched off, or leaves moves nobody of the others', async (t) => {
  const ranged = { a: member({ range: [0, 20] }), b: member({ range: [50, 70] }) }
  const before = holdersOf(ranged, some)
  for (const joined of [member({ range: [20, 50] }), member({})]) {
    const after = holdersOf({ ...ranged, 0: joined }, some)
    t.ok(some.every((_, i) => before[i] === undefined || after[i] === before[i]))
  }
  const three = { a: member({}), b: member({}), c: member({}) }
  const sharing = holdersOf(three, some)
  t.same(holdersOf({ ...three, b: { ...member({}), enabled: false } }, some), sharing, 'switched off')
  const without = holdersOf({ a: three.a, c: three.c }, some)
  t.ok(some.every((_, i) => sharing[i] === 'b' || without[i] === sharing[i]), 'left')
  t.ok(shareOf(some, (_, i) => sharing[i] === 'b' && without[i] === 'a') > 0.1, 'whom it held the others share')
  t.same(holdersOf({ ...three, b: { ...member({}), serve: 'a' } }, some), without, 'what draws no more has left')
})

const ranges = fc.oneof(fc.constant(undefined), fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 20 })).map(([from, to]) => [from * 5, to * 5]))
const serves = fc.constantFrom<Flag['serve']>(
  { split: { a: 1, b: 1 } }, { split: { a: 1, b: 0 } }, { split: { a: 1, b: 1 }, percentage: 50 }, { variant: 'b', percentage: 100 }, { variant: 'b', percentage: 30 },
  { split: { a: 1, b: 3 }, stages: [{ percentage: 50, groups: ['staff'] }] }, { variant: 'b', stages: [{ percentage: 20, groups: ['staff'] }, { percentage: 100 }] }, { split: { a: 1, b: 1 }, by: 'company' }
)
const settings = fc.record({
  enabled: fc.boolean(),
  serve: serves,
  experiment: fc.record({ layer: fc.constantFrom('checkout', 'search'), range: ranges, holdout: fc.constantFrom(undefined, 0, 5, 30) })
})
const anyFlag: fc.Arbitrary<Flag> = fc.oneof(settings, fc.record({ environments: fc.record({ production: settings, staging: settings }, { requiredKeys: [] }) })).map((deciding) => JSON.parse(JSON.stringify({ variants: ['a', 'b'], ...deciding })))

const drawn = new Set<string | undefined>(['split', 'rollout-hit', 'rollout-miss'])

t.test('no two experiments of a layer ever take the same unit, nor anyone of the holdout, whatever stands in the documents', async (t) => {
  const seen = { taken: 0, heldOut: 0 }
  const flagsByKey = fc.uniqueArray(fc.tuple(fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5', 'k6'), anyFlag), { selector: ([key]) => key, minLength: 2 })
  fc.assert(fc.property(flagsByKey, fc.constantFrom('production', 'staging', 'elsewhere'), (entries, environment) => {
    const snapshot = snapshotOf({ flags: Object.fromEntries(entries) })
    const members = entries.flatMap(([key, flag]) => membershipsOf(key, flag)).filter((member) => (member.environment ?? environment) === environment)
    for (const layer of ['checkout', 'search']) {
      const own = members.filter((member) => member.layer === layer)
      const end = 100 - Math.max(0, ...own.map(({ holdout }) => holdout))
      const { state, length } = foldFor(layer, 'layer')
      for (const user of some.slice(0, 50)) {
        const isNamed = user.endsWith('7')
        const subject = subjectOf(snapshot, { targetingKey: user, company: user, groups: isNamed ? ['staff'] : [] }, { environment })
        const takers = own.filter(({ flag }) => {
          const { counted, details } = ask(flag, subject)
          return counted !== undefined || (!isNamed && drawn.has(details.flagMetadata.cause))
        })
        const isHeldOut = (hash(state, length, user) >>> 0) / 2 ** 32 * 100 >= end
        if (takers.length > (isHeldOut ? 0 : 1)) return false
        seen.taken += takers.length
        if (isHeldOut) seen.heldOut++
      }
    }
    return true
  }), { numRuns: 300 })
  t.ok(seen.taken > 1000 && seen.heldOut > 1000, JSON.stringify(seen))
})

t.test('whom the layer leaves to others gets `otherwise`, and says so', async (t) => {
  const given = (more: Partial<Flag>, context: EvaluationContext, own: Flag['experiment'] = { layer: 'checkout', range: [0, 0.001] }) => {
    const { details, counted, enabled } = answer({ flags: { flag: { enabled: true, variants: ['off', 'a', 'b'], experiment: own, ...more } } }, 'flag', context)
    return [details.variant, details.reason, details.flagMetadata.cause, enabled, counted !== undefined]
  }
  const u = { targetingKey: 'u' }
  const all = { layer: 'checkout', range: [0, 100] }
  const half = { split: { a: 1, b: 0 } }
  t.same(given({ serve: half }, u), ['off', 'SPLIT', 'layer-miss', false, false])
  t.same(given({ serve: { ...half, otherwise: 'b' } }, u), ['b', 'SPLIT', 'layer-miss', true, false])
  t.same(given({ serve: { variant: 'a', percentage: 100 } }, u), ['off', 'SPLIT', 'layer-miss', false, false])
  t.same(given({ serve: { variant: 'a', percentage: 0 } }, u), ['off', 'SPLIT', 'layer-miss', false, false])
  t.same(given({ serve: { variant: 'a', stages: [{ percentage: 100, at: '2100-01-01T00:00:00Z' }] } }, u), ['off', 'SPLIT', 'layer-miss', false, false])
  t.same(given({ serve: half }, u, all), ['a', 'SPLIT', 'split', true, true])
  t.same(given({ serve: { variant: 'a', percentage: 100 } }, u, all), ['a', 'SPLIT', 'rollout-hit', true, true])
  t.same(given({ serve: { variant: 'a', percentage: 0 } }, u, all), ['off', 'SPLIT', 'rollout-miss', false, true])
  t.same(given({ serve: half }, {}, all), ['off', 'DEFAULT', 'no-bucketing-key', false, false])
  t.same(given({ serve: half, targets: [{ variant: 'b', users: ['u'] }] }, u), ['b', 'TARGETING_MATCH', 'target-user', true, false])
  t.same(given({ serve: half, rules: [{ when: { attribute: 'targetingKey', operator: 'exists' }, serve: { split: { b: 1 } } }] }, u), ['b', 'SPLIT', 'split', true, false], 'a rule has its own draw')
  const staged = { stages: [{ percentage: 0, groups: ['staff'] }] }
  t.same(given({ serve: { variant: 'a', ...staged } }, { ...u, groups: ['staff'] }), ['a', 'SPLIT', 'rollout-hit', true, false])
  t.same(given({ serve: { ...half, ...staged } }, { ...u, groups: ['staff'] }), ['a', 'SPLIT', 'split', true, false], 'who is in by name is not counted')
  t.same(given({ serve: { ...half, ...staged } }, u, all), ['off', 'SPLIT', 'rollout-miss', false, false])
  t.same(given({ serve: 'a' }, u), ['a', 'STATIC', 'default', true, false], 'what draws nothing is no experiment')
  const other = (by?: string) => answer({ flags: { a: member({ range: [0, 1] }), flag: member({}, { serve: { ...split.serve, by } }) } }, 'flag', u).details.flagMetadata.cause
  t.same([other(), other('targetingKey')], ['split', 'split'])
  t.equal(answer({ flags: { a: member({}), z: member({}, { serve: { ...split.serve, by: 'company' } }) } }, 'z', { company: 'acme' }).details.flagMetadata.cause, 'layer-miss', 'who draws otherwise than the first gets nobody')
})

t.test('each environment has its layers; a flag without environments is a member in all', async (t) => {
  const documents = {
    a: { ...split, environments: { production: member({ range: [0, 50] }), staging: member({ range: [50, 100] }) } },
    b: member({})
  }
  for (const [environment, holders] of Object.entries({ production: ['a', 'b'], staging: ['b', 'a'], elsewhere: ['b', 'b'] })) {
    const { layers } = snapshotOf({ flags: documents as Record<string, Flag> })
    const layer = layers.in(environment, 'checkout')
    for (const [i, [from, to]] of [[0, 50], [50, 100]].entries()) {
      const there = some.filter((user) => layer.placeOf(user) >= from! && layer.placeOf(user) < to!)
      t.same([...new Set(there.map((user) => layer.holderOf(user)))], [holders[i]], environment)
    }
  }
})

t.test('explain says whose somebody is', async (t) => {
  const documents: Record<string, Flag> = { a: member({ range: [0, 30] }), b: member({ range: [30, 50], holdout: 20 }), z: member({}, { serve: { split: { a: 1 }, by: 'company' } }) }
  const snapshot = snapshotOf({ flags: documents })
  const layer = snapshot.layers.in('production', 'checkout')
  const told = (key: string, user: string | undefined) => {
    const step = explain(snapshot.flag(key)!, subjectOf(snapshot, { targetingKey: user, company: 'acme' })).steps.at(-1)
    return step?.check === 'serve' ? { ...step.serve.layer, why: step.serve.why } : undefined
  }
  const someone = (holder: string | undefined, isHeldOut = false) => some.find((user) => layer.holderOf(user) === holder && layer.isHeldOut(user) === isHeldOut)!
  t.match(told('a', someone('a')), { name: 'checkout', in: true, place: Number, holder: 'a', holdout: false, why: undefined })
  t.match(told('a', someone('b')), { in: false, place: layer.placeOf(someone('b')), holder: 'b', why: /in the layer checkout belongs to b$/ })
  t.match(told('a', someone(undefined)), { in: false, holder: null, holdout: false, why: /belongs to no experiment$/ })
  t.match(told('b', someone(undefined, true)), { in: false, holder: null, holdout: true, why: /stays out of all its experiments$/ })
  t.match(told('z', 'u'), { in: false, why: /draw by targetingKey: one that draws by company takes nobody$/ })
  t.match(tellExplanation(explain(snapshot.flag('a')!, subjectOf(snapshot, { targetingKey: someone('b') })), {}, { colours: false }), /layer checkout: place \d+\.\d{3} of 100, out\n.*hashed.*\n.*belongs to b\n.*serves a/)
  t.match(told('a', undefined), { in: null, place: null, holder: null, why: /nothing to hash/ })
})

t.test('a change that divides no layer keeps them; one that does tells all members', async (t) => {
  const snapshot = snapshotOf({ flags: { a: member({}), b: member({}), c: { enabled: true }, needing: { enabled: true, prerequisites: [{ flag: 'b', variant: 'a' }] } } })
  const { layers } = snapshot
  const changed = (snapshot: Snapshot, key: string, flag: Flag | undefined) => snapshot.with(new Map([[key, flag && new FlagEntry(key, flag, { version: 8, time: 0, by: null })]]), new Map())
  const plain = changed(snapshot, 'c', { enabled: false })
  t.equal(plain.layers, layers)
  const off = changed(plain, 'a', { ...member({}), enabled: false })
  t.equal(off.layers, layers)
  t.same(affectedBy({ flags: ['a'], segments: [] }, off, layers), ['a'])
  const gone = changed(off, 'a', undefined)
  t.same(affectedBy({ flags: ['a'], segments: [] }, gone, layers).sort(), ['a', 'b', 'needing'])
  t.equal(gone.layers.in('production', 'checkout').holderOf('user-1'), 'b')
  const back = changed(gone, 'c', member({ range: [0, 100] }))
  t.equal(back.layers.in('production', 'checkout').holderOf('user-1'), 'c')
  t.equal(layers.in('production', 'checkout').holderOf('user-1'), holdersOf({ a: member({}), b: member({}) }, ['user-1'])[0], 'older snapshots stay as they were')
  t.same(affectedBy({ flags: ['c'], segments: [] }, back, gone.layers).sort(), ['b', 'c', 'needing'])
})

t.test('a layer that cannot be is refused, with who holds what and what is free', async (t) => {
  const { ask, admin } = await startAdmin(t)
  await admin.put('basket', member({ range: [0, 30] }))
  await admin.put('notice', member({ range: [30, 50], holdout: 10 }))
  await admin.put('staged', { variants: ['a', 'b'], environments: { staging: { enabled: true, serve: split.serve, experiment: { layer: 'search', range: [0, 60] } } } })
  const standing = 'of the layer "checkout" "basket" holds [0, 30], "notice" holds [30, 50], the holdout is [90, 100], free is [50, 90]'
  const refusals: Array<[Flag['experiment'] | object, string, string | RegExp, Partial<Flag>?]> = [
    [{ layer: 'checkout', range: [20, 60] }, '/experiment/range', `must be free, as [20, 60] is not: ${standing}`],
    [{ layer: 'checkout', range: [50, 100] }, '/experiment/range', `must be free, as [50, 100] is not: ${standing}`],
    [{ layer: 'checkout', range: [50, 90], holdout: 20 }, '/experiment/range', /the holdout is \[80, 100\], free is \[50, 80\]$/],
    [{ layer: 'checkout', holdout: 60 }, '/experiment/holdout', /^must leave the others what they hold: of the layer "checkout" "basket" holds/],
    [{ layer: 'checkout', holdout: 50 }, '/experiment/layer', /^must have a part that is free: .* free is nothing$/],
    [{ layer: 'checkout' }, '/serve/by', 'must be left out, as in "basket": the experiments of the layer "checkout" share the same units, so all draw by the same attribute', { serve: { ...split.serve, by: 'company' } }],
    [{ layer: 'search', range: [50, 100] }, '/experiment/range', /"staged" holds \[0, 60\], free is \[60, 100\]$/],
    [{ layer: 'new', range: [0, 95], holdout: 10 }, '/experiment/range', 'must be free, as [0, 95] is not: of the layer "new" the holdout is [90, 100], free is [0, 90]'],
    [{ layer: 'checkout', range: [60, 50] }, '/experiment/range', 'must end after it begins: from and to in percent, such as [0, 50]'],
    [{ layer: 'checkout', range: [60, 60] }, '/experiment/range', /^must end after it begins/],
    [{ layer: 'checkout', range: [50, 101] }, '/experiment/range/1', /^must be a number from 0 to 100/],
    [{ layer: 'checkout', range: [-1, 50] }, '/experiment/range/0', /^must be a number from 0 to 100/],
    [{ layer: 'checkout', range: ['50', 90] }, '/experiment/range/0', /write 50 without quotes$/],
    [{ layer: 'checkout', range: [50] }, '/experiment/range', /such as \[0, 50\]/],
    [{ layer: 'checkout', range: [50, 60, 70] }, '/experiment/range', /at most 2 entries/],
    [{ layer: 'checkout', range: '50-60' }, '/experiment/range', /such as \[0, 50\]/],
    [{ layer: 'checkout', holdout: 101 }, '/experiment/holdout', /^must be a number from 0 to 100/],
    [{ layer: 'checkout', holdout: '10' }, '/experiment/holdout', /write 10 without quotes$/],
    [{ holdout: 10 }, '/experiment/holdout', 'is a part of a layer: name that beside it, such as "layer": "checkout"'],
    [{ range: [0, 10] }, '/experiment/range', 'is a part of a layer: name that beside it, such as "layer": "checkout"'],
    [{ layer: '' }, '/experiment/layer', /^must be a key/],
    [{ layer: 7 }, '/experiment/layer', /^must be a key/],
    [JSON.parse('{ "layer": "__proto__" }'), '/experiment/layer', /^must be a key/],
    [{ layer: 'constructor', range: [90, 10] }, '/experiment/layer', /^must be a key/]
  ]
  for (const [experiment, path, message, more] of refusals) {
    t.match(await ask('PUT', '/flags/new', { body: { enabled: true, ...split, experiment, ...more } }), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path, message }] } }, JSON.stringify(experiment))
  }
  t.match(await ask('PUT', '/flags/new', { body: { ...split, enabled: true, experiment: { layer: 'checkout', range: [50, 90] } } }), { status: 201 })
  t.match(await ask('PUT', '/flags/last', { body: { ...split, enabled: true, experiment: { layer: 'checkout' } } }), { status: 400, body: { details: [{ path: '/experiment/layer', message: /free is nothing$/ }] } })
  t.match(await ask('PATCH', '/flags/new', { body: { experiment: { layer: 'checkout', range: [50, 80] } } }), { status: 200 }, 'what it holds itself is not in its way')
  t.match(await ask('PUT', '/flags/last', { body: { ...split, enabled: true, experiment: { layer: 'checkout' } } }), { status: 201 })
  t.match(await ask('PATCH', '/flags/new', { body: { experiment: { layer: 'checkout', range: [50, 90] } } }), { status: 400, body: { details: [{ path: '/experiment/range', message: /^must leave something to "last"/ }] } })
  t.match(await ask('PUT', '/flags/here', { body: { variants: ['a', 'b'], environments: { production: { enabled: true, serve: split.serve, experiment: { layer: 'search', range: [0, 60] } } } } }), { status: 201 }, 'another environment is another layer')
  t.match(await ask('PATCH', '/flags/new', { body: { serve: 'a', experiment: { layer: 'checkout', range: [0, 80] } } }), { status: 200 }, 'what draws nothing holds nothing')
  t.match(await ask('PATCH', '/flags/new', { body: { serve: split.serve } }), { status: 400, body: { details: [{ path: '/experiment/range' }] } })
})

t.test('the members of an import, a bootstrap and a file are held against each other', async (t) => {
  const overlapping = { flags: { one: member({ range: [0, 60] }), other: member({ range: [50, 100] }) } }
  const { ask, admin } = await startAdmin(t)
  t.match(await ask('POST', '/import', { body: overlapping }), { status: 400, body: { details: [{ path: '/flags/one/experiment/range' }, { path: '/flags/other/experiment/range' }] } })
  await admin.put('one', member({ range: [0, 60] }))
  await admin.put('other', member({ range: [60, 100] }))
  t.match(await ask('POST', '/import', { body: { flags: { one: member({ range: [40, 100] }), other: member({ range: [0, 40] }) } } }), { status: 200 }, 'they may change places')
  t.match(await ask('POST', '/import', { body: { flags: { one: member({ range: [30, 100] }) } } }), { status: 400 })
  const bootstrapped = Fastify()
  await t.rejects(async () => await bootstrapped.register(flags, { store: 'memory', bootstrap: overlapping }), { code: 'FST_FLAGS_INVALID_OPTION', message: /\/flags\/other\/experiment\/range must be free/ })

  const app = Fastify()
  t.teardown(() => app.close())
  const file = join(makeFolder(t), 'flags.json')
  await app.register(flags, { store: { file } })
  await app.flags.admin.put('one', member({ range: [0, 60] }))
  await writeFile(file, JSON.stringify(overlapping))
  await t.rejects(app.flags.admin.put('third', { enabled: true }), { message: /\/flags\/other\/experiment\/range must be free, as \[50, 100\] is not: of the layer "checkout" "one" holds \[0, 60\]/ })
  await writeFile(file, JSON.stringify({ flags: { ...overlapping.flags, other: member({ range: [60, 100] }) } }))
  await app.flags.admin.put('third', { enabled: true })
  t.same(app.flags.admin.get('other').experiment, { layer: 'checkout', range: [60, 100] })
})

t.test('an overlap that came past the checks is nobody\'s twice, keeps no switch from working, and is told at the next change', async (t) => {
  const store = new MemoryStore()
  const { ask, app, admin } = await startAdmin(t, { store })
  await admin.put('a', member({ range: [0, 60] }))
  const { position: { epoch } } = await store.read()
  await store.write({ kind: 'flag', key: 'b', document: JSON.stringify(member({ range: [0, 100] })), expected: 0, epoch, by: null, id: randomUUID() })
  t.match(await ask('POST', '/flags/b/disable'), { status: 200 })
  t.match(await ask('POST', '/flags/b/enable'), { status: 200 })
  const causes = some.slice(0, 200).map((user) => ['a', 'b'].map((key) => app.flags.for(user).getDetails(key, '').flagMetadata.cause).join())
  t.same([...new Set(causes)].sort(), ['layer-miss,split', 'split,layer-miss'])
  t.match(await ask('PATCH', '/flags/b', { body: { description: 'x' } }), { status: 400, body: { details: [{ path: '/experiment/range', message: /"a" holds \[0, 60\], free is \[60, 100\]$/ }] } })
})

t.test('only whom the layer leaves to an experiment is counted, and another layer counts anew', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory' })
  const { admin } = app.flags
  const { recorder } = FastifyFlags.countingOf(app.flags)
  await admin.put('a', member({ range: [0, 40] }))
  await admin.put('b', member({ range: [40, 80], holdout: 20 }))
  await admin.put('c', { ...member({}), experiment: {} })
  for (const user of some.slice(0, 500)) for (const key of ['a', 'b', 'c']) app.flags.for(user).getVariant(key)
  const unitsOf = async (key: string) => {
    const { variants } = await recorder.read(experimentOf(key, admin.get(key), 'production')!)
    return Object.values(variants).reduce((sum, { units }) => sum + units, 0)
  }
  const holders = holdersOf({ a: admin.get('a'), b: admin.get('b') }, some.slice(0, 500))
  t.same([await unitsOf('a'), await unitsOf('b'), await unitsOf('c')], [holders.filter((holder) => holder === 'a').length, holders.filter((holder) => holder === 'b').length, 500])
  await admin.patch('a', { experiment: { layer: 'checkout', range: [0, 30] } })
  t.ok(await unitsOf('a') > 0, 'a range is a matter of how many')
  await admin.patch('a', { experiment: { layer: 'search' } })
  t.equal(await unitsOf('a'), 0)
  await admin.patch('a', { experiment: {} })
  t.equal(await unitsOf('a'), 0)
})

t.test('a flag in a layer is not fully on, and is listed with it', async (t) => {
  const flag: Flag = { enabled: true, serve: { percentage: 100 }, experiment: { layer: 'checkout' } }
  const reason = (document: Flag) => staleness({ document, provenance: { version: 1, time: 0, by: null } }, 100, 10)?.reason
  t.equal(reason({ ...flag, experiment: {} }), 'fully-on')
  t.equal(reason(flag), undefined)
  t.equal(reason({ ...flag, serve: 'on' }), 'fully-on')
  t.equal(reason({ ...flag, serve: { percentage: 0 } }), 'fully-off')
  t.equal(describe(flag, 0), '100 %, in layer checkout')
  t.equal(describe({ ...flag, serve: 'on' }, 0), 'on')
})
