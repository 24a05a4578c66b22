import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { byKey, pageOf, sorted } from '../src/admin/page.js'
import { changeTargets } from '../src/admin/settings.js'
import { Admin } from '../src/admin.js'
import { errors } from '../src/errors.js'
import type { Flag } from '../src/model/flag.js'
import { Replica } from '../src/replica.js'
import { Memory, MemoryStore } from '../src/store/memory.js'

async function start (t: Test, memory = new Memory()) {
  const store = new MemoryStore(memory)
  const replica = new Replica({ store })
  t.teardown(() => replica.close())
  await replica.start()
  return { admin: new Admin(replica), replica, store, memory }
}

/** Puts a text into the store that no admin would write, as another version or a broken one did. */
async function plant ({ replica, store }: Awaited<ReturnType<typeof start>>, key: string, document: string, expected = 0): Promise<void> {
  await replica.sync()
  await store.write({ kind: 'flag', key, document, expected, epoch: replica.epoch, by: 'planted', id: `${Math.random()}` })
  await replica.sync()
}

t.test('in code a missing version overwrites, and one that is given is heeded', async (t) => {
  const { admin } = await start(t)
  t.match(await admin.put('a', { enabled: true }, { by: 'ci' }), { created: true, flag: { key: 'a', enabled: true, version: 1, updatedBy: 'ci' } })
  t.match(await admin.put('a', { enabled: false }), { created: false, flag: { version: 2 } })
  t.notOk(admin.get('a').updatedBy, 'nobody said who')
  await t.rejects(admin.put('a', { enabled: true }, { version: 1 }), { code: 'FST_FLAGS_VERSION_CONFLICT', message: /now at version 2, not 1/ })
  await t.rejects(admin.put('a', { ...admin.get('a'), version: 1 }), { code: 'FST_FLAGS_VERSION_CONFLICT' })
  await t.rejects(admin.put('b', {}, { version: '*' }), { code: 'FST_FLAGS_VERSION_CONFLICT' })
  await t.rejects(admin.delete('a', { version: 1 }), { code: 'FST_FLAGS_VERSION_CONFLICT' })
  await admin.delete('a')
  await t.rejects(admin.delete('a'), { code: 'FST_FLAGS_FLAG_NOT_FOUND' })
  t.throws(() => admin.get('a'), { code: 'FST_FLAGS_FLAG_NOT_FOUND' })
})

t.test('a change that changes nothing makes no version', async (t) => {
  const { admin } = await start(t)
  await admin.put('a', { enabled: true, serve: { stages: [{ percentage: 5 }] } }, { by: 'alice' })
  const before = admin.get('a')
  t.same((await admin.put('a', { serve: { stages: [{ percentage: 5 }] }, enabled: true })).flag, before)
  t.same(await admin.patch('a', { enabled: true }), before)
  t.same(await admin.enable('a'), before)
  t.same((await admin.put('a', { ...before, updatedBy: 'mallory', createdAt: '1970-01-01T00:00:00Z', updatedAt: 'x' })).flag, before, 'what the server keeps is not the sender\'s')
  t.equal((await admin.changes()).changes.length, 1)
})

t.test('what was given and what was answered are the caller\'s: changing them later changes no flag', async (t) => {
  const { admin } = await start(t)
  const given = { enabled: true, tags: ['one'] }
  const { flag } = await admin.put('a', given)
  given.tags.push('two')
  flag.tags!.push('three')
  admin.get('a').tags!.push('four')
  admin.list().flags[0]!.tags!.push('five')
  t.same(admin.get('a').tags, ['one'])
})

t.test('null and undefined are no documents, and delete nothing', async (t) => {
  const { admin } = await start(t)
  await admin.put('a', { enabled: true })
  for (const wrong of [null, undefined, 5, 'x', [], () => {}]) {
    await t.rejects(admin.put('a', wrong as never), { code: 'FST_FLAGS_INVALID_DOCUMENT' }, String(wrong))
    await t.rejects(admin.patch('a', wrong as never), { code: 'FST_FLAGS_INVALID_DOCUMENT' }, String(wrong))
  }
  t.equal(admin.get('a').version, 1)
})

t.test('rollouts keep their place through edits, and begin anew when their stages change', async (t) => {
  const { admin } = await start(t)
  await admin.put('a', { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 50 }] } })
  const { serve } = admin.get('a')
  t.match(serve, { state: { stage: 0, since: String } })
  t.same((await admin.patch('a', { serve: { stages: [{ percentage: 5 }, { percentage: 50 }], seed: 'x', state: { stage: 1, since: '2020-01-01T00:00:00Z' } } })).serve, { ...serve as object, seed: 'x' })
  t.match((await admin.disable('a')).serve, { state: { disabledAt: String } })
})

t.test('a flag written by a newer version is not overwritten, only deleted', async (t) => {
  const started = await start(t)
  const { admin } = started
  await plant(started, 'a', '{"enabled":true,"telepathy":{"on":true}}')
  const refusal = { code: 'FST_FLAGS_NEWER_DOCUMENT', statusCode: 409, message: /telepathy/ }
  await t.rejects(admin.put('a', { enabled: false }), refusal)
  await t.rejects(admin.patch('a', { enabled: false }), { message: /telepathy/ })
  await t.rejects(admin.import({ flags: { a: { enabled: false } } }), refusal)
  await admin.delete('a')
})

t.test('a flag that is no longer valid is still switched and rolled back, and nothing else is done to it', async (t) => {
  const started = await start(t)
  const { admin } = started
  const rule = { name: 'twice', when: { segment: 'gone' }, serve: 'on' }
  await plant(started, 'a', JSON.stringify({ enabled: true, rules: [rule, rule], serve: { stages: [{ percentage: 5 }, { percentage: 50 }] } }))
  t.match(await admin.advance('a'), { serve: { state: { stage: 1 } } })
  t.match(await admin.rollback('a'), { serve: { state: { stage: 0 } } })
  t.match(await admin.disable('a', { by: 'alice' }), { enabled: false, updatedBy: 'alice', rules: [rule, rule] })
  t.match(await admin.enable('a'), { enabled: true })
  await t.rejects(admin.patch('a', { description: 'x' }), { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/rules/0/when/segment' }, { path: '/rules/1/name' }, { path: '/rules/1/when/segment' }] })
  await t.rejects(admin.changeTargets('a', { add: { users: ['u'] } }), { code: 'FST_FLAGS_INVALID_DOCUMENT' })
  await t.rejects(admin.disable('a', { environment: '' }), { code: 'FST_FLAGS_WRONG_ENVIRONMENT' })
})

t.test('a damaged document can be written again', async (t) => {
  const started = await start(t)
  const { admin } = started
  await admin.put('a', { enabled: true })
  await plant(started, 'a', '{"enabled":', 1)
  await plant(started, 'b', 'nonsense')
  t.match(admin.get('a'), { enabled: true, version: 1 }, 'its last good value')
  await t.rejects(admin.put('b', {}, { version: 0 }), { code: 'FST_FLAGS_VERSION_CONFLICT' }, 'it is there')
  t.throws(() => admin.get('b'), { code: 'FST_FLAGS_DAMAGED_DOCUMENT' }, 'and not taken for nothing')
  await t.rejects(admin.enable('b'), { code: 'FST_FLAGS_DAMAGED_DOCUMENT' })
  for (const key of ['a', 'b']) {
    t.match(await admin.put(key, { enabled: true, description: 'mended' }), { flag: { description: 'mended' } }, key)
    t.equal(admin.get(key).description, 'mended')
  }
})

t.test('the flags are listed by key, in pages that together are all of them', async (t) => {
  const { admin } = await start(t)
  const keys = Array.from({ length: 23 }, (_, i) => `flag-${(i * 7) % 23}`)
  for (const key of keys) await admin.put(key, {})
  const seen: string[] = []
  let after: string | undefined
  do {
    const page = admin.list({ limit: 5, after })
    t.ok(page.flags.length <= 5)
    seen.push(...page.flags.map(({ key }) => key))
    after = page.next
  } while (after !== undefined)
  t.same(seen, [...keys].sort())
  t.same(admin.list({ after: 'flag-8' }).flags.map(({ key }) => key), ['flag-9'])
  t.notOk(admin.list({ limit: 23 }).next, 'a page that is just full is the last')
  t.same(admin.list({ after: 'zzz' }), { flags: [], next: undefined })
})

t.test('filters narrow the list together', async (t) => {
  const { admin } = await start(t)
  await admin.put('checkout', { tags: ['web', 'pay'], owner: 'growth', description: 'The NEW basket' })
  await admin.put('search', { tags: ['web'], owner: 'core' })
  await admin.put('basket', { owner: 'growth' })
  const keys = (filter: Parameters<Admin['list']>[0]) => admin.list(filter).flags.map(({ key }) => key)
  t.same(keys({ tag: 'web' }), ['checkout', 'search'])
  t.same(keys({ owner: 'growth' }), ['basket', 'checkout'])
  t.same(keys({ q: 'BASKET' }), ['basket', 'checkout'])
  t.same(keys({ q: 'pay' }), ['checkout'])
  t.same(keys({ q: 'growth', tag: 'web' }), ['checkout'])
  t.same(keys({ tag: 'we' }), [], 'a tag is whole')
})

t.test('an import writes all or nothing, knows what is the same, and lets its documents name each other', async (t) => {
  const { admin } = await start(t)
  await admin.put('same', { enabled: true })
  const set = {
    segments: { 'b-outer': { when: { segment: 'z-inner' } }, 'z-inner': { when: { attribute: 'x', operator: 'exists' as const } } },
    flags: {
      'a-top': { enabled: true, serve: 'off', prerequisites: [{ flag: 'z-base' }], rules: [{ when: { segment: 'b-outer' } }] },
      'z-base': { enabled: true },
      same: { enabled: true }
    }
  }
  const plan = await admin.import(set, { dryRun: true })
  t.same(plan, {
    dryRun: true,
    flags: [{ key: 'a-top', action: 'create' }, { key: 'z-base', action: 'create' }, { key: 'same', action: 'none' }],
    segments: [{ key: 'b-outer', action: 'create' }, { key: 'z-inner', action: 'create' }]
  })
  t.equal((await admin.changes()).changes.length, 1, 'a dry run writes nothing')

  await t.rejects(admin.import({ ...set, flags: { ...set.flags, wrong: { enabled: 'yes' as never } } }), { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/flags/wrong/enabled', message: String }] })
  await t.rejects(admin.import({ flags: { x: { enabled: true, prerequisites: [{ flag: 'nowhere' }] } } }), { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/flags/x/prerequisites/0/flag' }] })
  await t.rejects(admin.import({ flags: [] as never, segment: {} } as never), { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/flags' }, { path: '/segment' }] })
  t.equal((await admin.changes()).changes.length, 1, 'nor does one that is refused')

  const report = await admin.import(set, { by: 'carol' })
  t.match(report, { dryRun: false, flags: [{ key: 'a-top', version: 5 }, { key: 'z-base', version: 4 }, { key: 'same', action: 'none' }], segments: [{ version: 3 }, { version: 2 }] }, 'each after those it names')
  t.equal(admin.get('a-top').updatedBy, 'carol')
  t.same((await admin.import(set)).flags.map(({ action }) => action), ['none', 'none', 'none'], 'again it writes nothing')
})

t.test('an import that would break what others need is refused as a whole', async (t) => {
  const { admin } = await start(t)
  await admin.put('base', { enabled: true, variants: ['a', 'b'], serve: 'a' })
  await admin.put('top', { enabled: true, prerequisites: [{ flag: 'base', variant: 'b' }] })
  const base = { enabled: true, variants: ['a', 'c'], serve: 'a' }
  await t.rejects(admin.import({ flags: { base, other: {} } }), { code: 'FST_FLAGS_IN_USE', message: /Variant b of flag base is needed by flag top/ })
  t.throws(() => admin.get('other'))
  await admin.import({ flags: { base, top: { enabled: true, prerequisites: [{ flag: 'base', variant: 'c' }] } } })
  t.match(admin.get('top'), { prerequisites: [{ variant: 'c' }] }, 'changed together they may')
  await t.rejects(admin.import({ flags: { x: { enabled: true, prerequisites: [{ flag: 'y' }] }, y: { enabled: true, prerequisites: [{ flag: 'x' }] } } }), { code: 'FST_FLAGS_INVALID_DOCUMENT' }, 'a cycle among them is found')
})

t.test('an import that meets another\'s change leaves that, tells of it, and writes the rest', async (t) => {
  const { admin, store } = await start(t)
  await admin.put('b', { description: 'old' })
  const write = store.write.bind(store)
  let met = false
  store.write = async (change) => {
    if (change.key === 'b' && !met) {
      met = true
      await write({ ...change, document: '{"description":"theirs"}', by: 'bob', id: 'another' })
    }
    return await write(change)
  }
  await t.rejects(admin.import({ flags: { a: {}, b: { description: 'mine' }, c: {} } }), {
    code: 'FST_FLAGS_IMPORT_INCOMPLETE', statusCode: 409, message: /Only 2 of 3/, details: [{ path: '/flags/b', message: /version/ }]
  })
  t.equal(admin.get('b').description, 'theirs')
  t.same(admin.list().flags.map(({ key }) => key), ['a', 'b', 'c'])
})

t.test('what is exported is what an import takes, with when it was created and where rollouts stand', async (t) => {
  const { admin } = await start(t)
  await admin.import(JSON.parse(readFileSync('examples/flags.json', 'utf8')))
  await admin.putSegment('eu', { when: { attribute: 'country', operator: 'in', value: ['de'] } })
  const exported = await admin.export()
  t.same(Object.keys(exported.flags), Object.keys(exported.flags).sort())
  t.notOk('version' in exported.flags.dark_mode!)

  const other = await start(t)
  await other.admin.import(JSON.parse(JSON.stringify(exported)))
  t.same(await other.admin.export(), exported)
  t.ok((await other.admin.import(exported)).flags.every(({ action }) => action === 'none'))
})

t.test('in any import order of a chain of a thousand flags each comes after what it needs', async (t) => {
  const { admin } = await start(t)
  const flags = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, i === 999 ? {} : { prerequisites: [{ flag: `f${i + 1}` }] }]))
  const { flags: imported } = await admin.import({ flags })
  const versions = new Map(imported.map(({ key, version }) => [key, version!]))
  t.ok(imported.every(({ key }) => key === 'f999' || versions.get(key)! > versions.get(`f${Number(key.slice(1)) + 1}`)!))
})

t.test('before the first load nothing is said of flags, and nothing written', async (t) => {
  const store = new MemoryStore()
  store.read = async () => { throw new errors.STORE_UNAVAILABLE('down') }
  const replica = new Replica({ store })
  t.teardown(() => replica.close())
  await replica.start(50)
  const admin = new Admin(replica)
  for (const ask of [() => admin.list(), () => admin.get('a'), () => admin.listSegments(), () => admin.getSegment('a'), () => admin.explain('a'), () => admin.exportText()]) {
    t.throws(ask, { code: 'FST_FLAGS_STORE_UNAVAILABLE', statusCode: 503 })
  }
  for (const ask of [async (): Promise<unknown> => await admin.put('a', {}), () => admin.delete('a'), () => admin.enable('a'), () => admin.import({ flags: { a: {} } }), () => admin.export()]) {
    await t.rejects(async () => { await ask() }, { code: 'FST_FLAGS_STORE_UNAVAILABLE', statusCode: 503 })
  }
})

t.test('together the pages of any keys are those keys in order', async (t) => {
  const keys = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 300 })
  await fc.assert(fc.asyncProperty(keys, fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 3 }), async (keys, limit, odd) => {
    const entries = keys.map((key) => ({ key }))
    const matches = ({ key }: { key: string }) => key.length !== odd
    const seen: string[] = []
    let after: string | undefined
    do {
      const page = pageOf(entries, { limit, after }, matches)
      seen.push(...page.entries.map(({ key }) => key))
      after = page.next
    } while (after !== undefined)
    const wanted = entries.filter(matches).sort(byKey).map(({ key }) => key)
    t.same(seen, wanted)
    const merged: string[] = []
    for await (const part of sorted(entries.filter(matches), () => undefined)) merged.push(...part.map(({ key }) => key))
    t.same(merged, wanted)
  }), { numRuns: 50 })
})

t.test('whoever is added ends in exactly the variant given, whoever is removed in none, and nobody else moves', async (t) => {
  const names = fc.uniqueArray(fc.constantFrom<string>('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1 })
  const variant = fc.constantFrom('x', 'y', 'z')
  const target = fc.record({ variant, users: names })
  fc.assert(fc.property(fc.array(target, { maxLength: 4 }), variant, names, names, (targets, given, added, removed) => {
    const flag = { variants: ['x', 'y', 'z'], enabled: true, serve: 'x', targets }
    const leaving = removed.filter((name) => !added.includes(name))
    const next = changeTargets('k', flag, { variant: given, add: { users: added } })
    const after = changeTargets('k', next, { remove: { users: leaving } }).targets!
    const homes = (targets: Flag['targets'], name: string) => new Set(targets!.filter(({ users }) => users?.includes(name)).map(({ variant }) => variant))
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const wanted = added.includes(name) ? new Set([given]) : leaving.includes(name) ? new Set() : homes(targets, name)
      if (!isDeepStrictEqual(homes(after, name), wanted)) return false
    }
    return after.every(({ users }) => users!.length > 0)
  }))
  t.throws(() => changeTargets('k', { enabled: true, serve: 'off' }, { add: { users: 'u1' as never } }), { code: 'FST_FLAGS_INVALID_REQUEST' })
})

t.test('a store that cannot be written says so, and nothing is pretended', async (t) => {
  const { admin, store } = await start(t)
  await admin.put('a', { enabled: true })
  await store.close()
  await t.rejects(admin.put('a', { enabled: false }), { code: 'FST_FLAGS_STORE_CLOSED' })
  await t.rejects(admin.enable('a'), { code: 'FST_FLAGS_STORE_CLOSED' }, 'nor is it taken for no change')
})
